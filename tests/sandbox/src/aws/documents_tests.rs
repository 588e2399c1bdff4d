//! The grammar of policy documents, case by case.

use serde_json::json;

use super::*;

const PROVIDER: &str = "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/id/A";

fn trust(text: &str) -> Result<Value, AwsError> {
    check_trust(text, &Surroundings { partition: "aws", principal_exists: &|arn| arn == "arn:aws:iam::111122223333:role/there" })
}

fn statement(change: &Value) -> String {
    let mut statement = json!({
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"oidc.example.com/id/A:aud": "sts.amazonaws.com"}},
    });
    for (key, value) in change.as_object().unwrap() {
        if value.is_null() {
            statement.as_object_mut().unwrap().remove(key);
        } else {
            statement[key] = value.clone();
        }
    }
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

#[test]
fn trust_policies_that_iam_takes() {
    for change in [
        json!({}),
        json!({"Sid": "Qovery1"}),
        json!({"Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]}),
        json!({"Action": "sts:*"}),
        json!({"Effect": "Deny", "Principal": "*"}),
        json!({"Principal": {"AWS": "arn:aws:iam::111122223333:role/there"}}),
        json!({"Principal": {"Service": ["pods.eks.amazonaws.com"], "Federated": [PROVIDER]}}),
        json!({"Condition": {"ForAnyValue:StringLikeIfExists": {"a:b": ["x", "y"]}, "Null": {"a:b": true}}}),
        json!({"Condition": null}),
    ] {
        assert!(trust(&statement(&change)).is_ok(), "{change}");
    }
}

#[test]
fn trust_policies_that_iam_refuses_and_how() {
    for (change, message) in [
        (json!({"Resource": "*"}), "Has prohibited field Resource"),
        (json!({"Principal": null}), NO_PRINCIPAL),
        (json!({"Principal": {}}), NO_PRINCIPAL),
        (json!({"Principal": {"Federated": []}}), NO_PRINCIPAL),
        (json!({"Effect": "allow"}), SYNTAX),
        (json!({"Effect": null}), SYNTAX),
        (json!({"Comment": "x"}), SYNTAX),
        (json!({"Condition": {"StringEqualz": {"a:b": "c"}}}), "Invalid Condition type : StringEqualz."),
        (json!({"Condition": {"StringEquals": {"a:b": []}}}), SYNTAX),
        (
            json!({"Condition": {"StringEquals": {"sub": "x"}}}),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (json!({"Action": "s3:GetObject"}), "AssumeRole policy may only specify STS AssumeRole actions."),
        (json!({"Action": "*"}), "AssumeRole policy may only specify STS AssumeRole actions."),
        (json!({"Action": null}), "Policy statement must contain actions."),
        (json!({"Action": []}), "Policy statement must contain actions."),
        (
            json!({"Sid": "qovery-1"}),
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
        ),
        (
            json!({"Principal": {"AWS": "arn:aws:iam::111122223333:role/gone"}}),
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::111122223333:role/gone\"",
        ),
        (json!({"Principal": {"AWS": "AROAEXAMPLEEXAMPLE123"}}), "Invalid principal in policy: \"AWS\":\"AROAEXAMPLEEXAMPLE123\""),
        (json!({"Principal": {"Service": "pods.eks.example.com"}}), "Invalid principal in policy: \"SERVICE\":\"pods.eks.example.com\""),
        (
            json!({"Principal": {"Federated": PROVIDER.replace("arn:aws:", "arn:aws-cn:")}}),
            "Federated principals must be valid domain names or SAML metadata ARNs",
        ),
        (json!({"Principal": {"Wrong": "x"}}), SYNTAX),
    ] {
        let error = trust(&statement(&change)).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), ("MalformedPolicyDocument", message), "{change}");
    }
}

#[test]
fn documents_that_are_broken_as_a_whole() {
    for (text, message) in [
        ("{nope", "This policy contains invalid Json"),
        ("[]", SYNTAX),
        (r#"{"Version":"2020-01-01","Statement":[]}"#, SYNTAX),
        (r#"{"Version":"2012-10-17"}"#, "Could not parse the policy: Statement is empty!"),
        (r#"{"Version":"2012-10-17","Statement":[]}"#, "Could not parse the policy: Statement is empty!"),
        (r#"{"Version":"2012-10-17","Statement":["x"]}"#, SYNTAX),
        (r#"{"Version":"2012-10-17","Version":"2012-10-17","Statement":[{}]}"#, SYNTAX),
        (r#"{"Statement":[{"Sid":"A"},{"Sid":"A"}]}"#, "Statement IDs (SID) in a single policy must be unique."),
    ] {
        assert_eq!(trust(text).unwrap_err().message, message, "{text}");
    }
}

#[test]
fn a_single_statement_needs_no_list() {
    let text = statement(&json!({})).replace(['[', ']'], "");
    assert!(trust(&text).is_ok());
}

#[test]
fn permission_policies_and_how_iam_refuses_them() {
    let check = |change: Value| {
        let mut statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
        for (key, value) in change.as_object().unwrap() {
            if value.is_null() {
                statement.as_object_mut().unwrap().remove(key);
            } else {
                statement[key] = value.clone();
            }
        }
        let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        check_permissions(&text, "aws").map(|_| ()).map_err(|error| error.message)
    };
    for good in [
        json!({}),
        json!({"Action": "*"}),
        json!({"Action": null, "NotAction": ["iam:*"]}),
        json!({"Resource": ["arn:aws:s3:::bucket/*", "arn:*:sqs:*:*:q"]}),
    ] {
        assert_eq!(check(good.clone()), Ok(()), "{good}");
    }
    for (bad, message) in [
        (json!({"Resource": null}), "Policy statement must contain resources."),
        (json!({"Action": "GetObject"}), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (json!({"Principal": "*"}), "Policy document should not specify a principal."),
        (json!({"Resource": "bucket"}), "Resource bucket must be in ARN format or \"*\"."),
        (json!({"Resource": "arn:aws-cn:s3:::b"}), "Partition \"aws-cn\" is not valid for resource \"arn:aws-cn:s3:::b\"."),
        (json!({"NotResource": "*"}), SYNTAX),
    ] {
        assert_eq!(check(bad.clone()), Err(message.to_owned()), "{bad}");
    }
}

#[test]
fn white_space_does_not_count() {
    assert_eq!(size("{ \"a\" :\n \"b c\" }"), 10);
}

#[test]
fn an_equivalent_form_differs_in_text_only() {
    let text = r#"{"Version": "2012-10-17", "Statement": [{"Principal": {"Federated": ["a"]}, "Effect": "Allow", "Action": ["x", "y"]}]}"#;
    let other = equivalent(text);
    assert_ne!(other, text);
    assert_eq!(
        serde_json::from_str::<Value>(&other).unwrap(),
        json!({"Version": "2012-10-17", "Statement": {"Principal": {"Federated": "a"}, "Effect": "Allow", "Action": ["x", "y"]}})
    );
}

#[test]
fn a_deleted_principal_becomes_its_id_only_where_it_is_a_principal() {
    let text = r#"{"Statement":[{"Sid":"a","Principal":{"AWS":["arn:x","arn:y"]}}]}"#;
    assert_eq!(with_principal_replaced(text, "arn:x", "AROAX"), r#"{"Statement":[{"Sid":"a","Principal":{"AWS":["AROAX","arn:y"]}}]}"#);
    let other = r#"{"Statement":[{"Condition":{"StringEquals":{"a:b":"arn:x"}},"Principal":"*"}]}"#;
    assert_eq!(with_principal_replaced(other, "arn:x", "AROAX"), other);
}
