//! The AWS-managed policies that exist here, with what they roughly allow.
//!
//! Real names. The documents are shortened to the services' patterns: they decide only what a session may do here.

use serde_json::{Value, json};

/// Path after `policy`, and the allowed actions.
const POLICIES: &[(&str, &[&str])] = &[
    ("/AdministratorAccess", &["*"]),
    ("/AmazonAthenaFullAccess", &["athena:*"]),
    ("/AmazonBedrockFullAccess", &["bedrock:*"]),
    ("/AmazonCognitoPowerUser", &["cognito-idp:*", "cognito-identity:*"]),
    ("/AmazonDynamoDBFullAccess", &["dynamodb:*"]),
    (
        "/AmazonDynamoDBReadOnlyAccess",
        &["dynamodb:Get*", "dynamodb:List*", "dynamodb:Describe*", "dynamodb:Query", "dynamodb:Scan", "dynamodb:BatchGetItem"],
    ),
    ("/AmazonEC2ContainerRegistryReadOnly", &["ecr:Get*", "ecr:List*", "ecr:Describe*", "ecr:BatchGet*", "ecr:BatchCheck*"]),
    ("/AmazonEC2FullAccess", &["ec2:*"]),
    ("/AmazonEC2ReadOnlyAccess", &["ec2:Describe*", "ec2:Get*"]),
    ("/AmazonEKSClusterPolicy", &["ec2:Describe*", "elasticloadbalancing:*"]),
    ("/AmazonEKSWorkerNodePolicy", &["ec2:Describe*", "eks:DescribeCluster", "eks-auth:AssumeRoleForPodIdentity"]),
    ("/AmazonEKS_CNI_Policy", &["ec2:*NetworkInterface*", "ec2:Describe*"]),
    ("/AmazonKinesisFullAccess", &["kinesis:*"]),
    ("/AmazonKinesisReadOnlyAccess", &["kinesis:Get*", "kinesis:List*", "kinesis:Describe*"]),
    ("/AmazonRDSDataFullAccess", &["rds-data:*"]),
    ("/AmazonRDSReadOnlyAccess", &["rds:Describe*", "rds:ListTagsForResource"]),
    ("/AmazonS3FullAccess", &["s3:*", "s3-object-lambda:*"]),
    ("/AmazonS3ReadOnlyAccess", &["s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"]),
    ("/AmazonSESFullAccess", &["ses:*"]),
    ("/AmazonSNSFullAccess", &["sns:*"]),
    ("/AmazonSNSReadOnlyAccess", &["sns:Get*", "sns:List*"]),
    ("/AmazonSQSFullAccess", &["sqs:*"]),
    ("/AmazonSQSReadOnlyAccess", &["sqs:Get*", "sqs:List*"]),
    ("/AmazonSSMFullAccess", &["ssm:*"]),
    ("/AmazonSSMReadOnlyAccess", &["ssm:Describe*", "ssm:Get*", "ssm:List*"]),
    ("/AWSLambda_FullAccess", &["lambda:*"]),
    ("/AWSLambda_ReadOnlyAccess", &["lambda:Get*", "lambda:List*"]),
    ("/AWSXRayDaemonWriteAccess", &["xray:*"]),
    ("/CloudWatchFullAccess", &["cloudwatch:*", "logs:*"]),
    ("/CloudWatchLogsFullAccess", &["logs:*"]),
    ("/CloudWatchReadOnlyAccess", &["cloudwatch:Get*", "cloudwatch:List*", "cloudwatch:Describe*", "logs:Get*", "logs:Describe*"]),
    ("/IAMFullAccess", &["iam:*"]),
    ("/IAMReadOnlyAccess", &["iam:Get*", "iam:List*", "iam:Simulate*", "iam:Generate*"]),
    ("/PowerUserAccess", POWER_USER),
    ("/ReadOnlyAccess", &["*:Get*", "*:List*", "*:Describe*"]),
    ("/SecretsManagerReadWrite", &["secretsmanager:*"]),
    ("/SecurityAudit", &["*:Describe*", "*:List*"]),
    ("/aws-service-role/AmazonEKSServiceRolePolicy", &["ec2:*"]),
    ("/job-function/ViewOnlyAccess", &["*:List*"]),
    ("/service-role/AWSLambdaBasicExecutionRole", &["logs:*"]),
    ("/service-role/AmazonEBSCSIDriverPolicy", &["ec2:*Volume*", "ec2:*Snapshot*"]),
    ("/service-role/AmazonEFSCSIDriverPolicy", &["elasticfilesystem:*"]),
];

/// All but IAM, organizations and accounts.
const POWER_USER: &[&str] = &["not", "iam:*", "organizations:*", "account:*"];

/// The part after `policy` of an ARN of an AWS-managed policy that exists.
pub(crate) fn path_and_name(arn: &str, partition: &str) -> Option<&'static str> {
    let rest = arn.strip_prefix(&format!("arn:{partition}:iam::aws:policy"))?;
    POLICIES.iter().find_map(|(name, _)| (*name == rest).then_some(*name))
}

/// What the policy allows.
pub(crate) fn document(path_and_name: &str) -> Option<Value> {
    let (_, actions) = POLICIES.iter().find(|(name, _)| *name == path_and_name)?;
    let statement = match actions {
        ["not", rest @ ..] => json!({"Effect": "Allow", "NotAction": rest, "Resource": "*"}),
        all => json!({"Effect": "Allow", "Action": all, "Resource": "*"}),
    };
    Some(json!({"Version": "2012-10-17", "Statement": [statement]}))
}

/// Policies that only AWS's own roles may carry.
pub(crate) fn is_for_service_linked_roles(path_and_name: &str) -> bool {
    path_and_name.starts_with("/aws-service-role/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_a_document_and_is_found_by_arn() {
        for (name, _) in POLICIES {
            let arn = format!("arn:aws-cn:iam::aws:policy{name}");
            assert_eq!(path_and_name(&arn, "aws-cn"), Some(*name));
            assert!(document(name).is_some());
        }
        assert_eq!(path_and_name("arn:aws:iam::aws:policy/ReadOnlyAccess", "aws-cn"), None);
        assert_eq!(path_and_name("arn:aws:iam::aws:policy/DoesNotExist123", "aws"), None);
    }
}
