#!/bin/sh
# An application that must know its own role: it prints the policy with which a bucket in another account lets this environment in.
#
# APP_ROLE_ARN is an alias of the job's output, made in Qovery once; clones have it too. Without one the output is found by its end: `IDENTITY_`,
# the name of the ServiceAccount, `_ROLE_ARN`.
set -eu

role=${APP_ROLE_ARN:-$(env | sed -n 's/^QOVERY_OUTPUT_JOB_Z[0-9A-F]\{8\}_IDENTITY_APP_ROLE_ARN=//p')}
if [ -z "$role" ]; then
  echo "no role: is the job that makes it deployed before this application?" >&2
  exit 1
fi

cat <<POLICY
{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {"AWS": "$role"},
      "Action": "s3:GetObject",
      "Resource": "arn:aws:s3:::$BUCKET/*"
    }
  ]
}
POLICY
