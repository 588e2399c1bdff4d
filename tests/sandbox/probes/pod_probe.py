#!/usr/bin/env python3
"""Which credentials boto3 takes in a pod, by the variables of its container: what `doctor` says of containers, held against an SDK.
usage: pod_probe.py ENDPOINT CA TOKEN_FILE   (needs boto3; AK and SK in the environment are the admin keys)
TOKEN_FILE holds a web identity token of ServiceAccount team/app for audience sts.amazonaws.com, signed by the cluster whose issuer is $ISS.
Each pod is a process of its own with a cleared environment. Ends with 0 if each takes what it should."""
import json, os, subprocess, sys, tempfile
import boto3, botocore

ENDPOINT, CA, TOKEN = sys.argv[1:4]
REGION = os.environ.get("AWS_REGION", "us-east-1")
ADMIN = dict(endpoint_url=ENDPOINT, region_name=REGION, verify=CA, aws_access_key_id=os.environ["AK"], aws_secret_access_key=os.environ["SK"])
IN_POD = """
import boto3, botocore
try:
    print(boto3.client("sts").get_caller_identity()["Arn"])
except botocore.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
except Exception as error:
    print(type(error).__name__)
"""


def arrange():
    """A role that trusts the pod, and the keys of a user, as a project may have them."""
    iam, sts, host = boto3.client("iam", **ADMIN), boto3.client("sts", **ADMIN), os.environ["ISS"][8:]
    try:
        iam.create_open_id_connect_provider(Url=os.environ["ISS"], ClientIDList=["sts.amazonaws.com"])
    except iam.exceptions.EntityAlreadyExistsException:
        pass
    account = sts.get_caller_identity()["Account"]
    provider = f"arn:aws:iam::{account}:oidc-provider/{host}"
    condition = {"StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": "system:serviceaccount:team:app"}}
    statement = {"Effect": "Allow", "Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName="pod-probe", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    return role, {"AWS_ACCESS_KEY_ID": os.environ["AK"], "AWS_SECRET_ACCESS_KEY": os.environ["SK"]}


def taken(variables, home):
    """The identity that boto3 gets, or why none."""
    world = {"PATH": os.environ["PATH"], "HOME": home, "AWS_ENDPOINT_URL": ENDPOINT, "AWS_CA_BUNDLE": CA, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
             "AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    pod = subprocess.run([sys.executable, "-W", "ignore", "-c", IN_POD], env={**world, **variables}, capture_output=True, text=True, timeout=60)
    return pod.stdout.strip() or pod.stderr.strip()[-200:]


def main():
    role, keys = arrange()
    home = tempfile.mkdtemp()
    files = os.path.join(home, "credentials")
    with open(files, "w") as file:
        file.write("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n[named]\naws_access_key_id=x\naws_secret_access_key=y\n" % tuple(keys.values()))
    of_eks = {"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": TOKEN}
    key, secret = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
    empty = os.path.join(home, "none")
    session, user = "assumed-role/pod-probe/", "user/"
    failed = 0
    # What a container has; what boto3 takes.
    for name, variables, wanted in [
        ("as EKS leaves it", of_eks, session),
        ("with the keys of its project", {**of_eks, **keys}, user),
        ("the same, once the keys are gone", of_eks, session),
        ("with keys that are set to nothing", {**of_eks, key: "", secret: ""}, session),
        ("with half a key", {**of_eks, key: keys[key]}, "PartialCredentialsError"),
        ("with the other half", {**of_eks, secret: keys[secret]}, session),
        ("with a session token alone", {**of_eks, "AWS_SESSION_TOKEN": "x"}, session),
        ("with a role of its own and no token", {"AWS_ROLE_ARN": role}, "NoCredentialsError"),
        ("with a token and no role", {"AWS_WEB_IDENTITY_TOKEN_FILE": TOKEN}, "InvalidConfigError|NoCredentialsError"),
        ("with a token file that is not there", {**of_eks, "AWS_WEB_IDENTITY_TOKEN_FILE": empty}, "FileNotFoundError"),
        ("with a profile that is nowhere", {**of_eks, "AWS_PROFILE": "prod"}, "ProfileNotFound"),
        ("with a file of credentials", {**of_eks, "AWS_SHARED_CREDENTIALS_FILE": files}, session),
        ("with Pod Identity beside", {**of_eks, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}, session),
    ]:
        found = taken(variables, home)
        ok = any(piece in found for piece in wanted.split("|"))
        failed += not ok
        print(f"{'  ' if ok else '✗ '}a container {name} | want {wanted} | {found}")
    print("boto3 " + boto3.__version__ + (": as doctor says" if not failed else f": {failed} not as doctor says"))
    boto3.client("iam", **ADMIN).delete_role(RoleName="pod-probe")
    return 1 if failed else 0


sys.exit(main())
