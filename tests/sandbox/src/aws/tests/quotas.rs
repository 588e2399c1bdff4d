//! Limits of the account: counted as AWS counts, refused in AWS's words, settable.

use serde_json::json;

use super::{Bed, HOST, PROVIDER, Pairs, trust};

fn big_trust(subjects: usize) -> String {
    let mut document = trust("a:b");
    let subjects: Vec<String> = (0..subjects).map(|index| format!("system:serviceaccount:z1a2b3c4-{index:010}:my-s3-role")).collect();
    document["Statement"][0]["Condition"]["StringEquals"][format!("{HOST}:sub")] = json!(subjects);
    document.to_string()
}

#[test]
fn white_space_does_not_count_towards_a_trust_policy() {
    let mut bed = Bed::with_role();
    let text = big_trust(20).replace(',', &format!(",{}", " ".repeat(100)));
    assert!(text.len() > 2_048);
    bed.ok("UpdateAssumeRolePolicy", &[("RoleName", "app"), ("PolicyDocument", &text)]);
}

#[test]
fn a_raised_quota_is_honoured_and_shown() {
    let mut bed = Bed::with_role();
    let text = big_trust(60);
    let update = [("RoleName", "app"), ("PolicyDocument", text.as_str())];
    assert_eq!(
        bed.refused("UpdateAssumeRolePolicy", &update),
        (409, "LimitExceeded".into(), "Cannot exceed quota for ACLSizePerRole: 2048".into())
    );
    bed.aws.quotas_mut().trust_policy_size = 4_096;
    bed.ok("UpdateAssumeRolePolicy", &update);
    let summary = bed.call("GetAccountSummary", &[]).text;
    for (key, value) in [
        ("AssumeRolePolicySizeQuota", 4_096),
        ("AttachedPoliciesPerRoleQuota", 10),
        ("RolePolicySizeQuota", 10_240),
        ("Roles", 1),
        ("RolesQuota", 1_000),
    ] {
        let entry = format!("<entry><key>{key}</key><value>{value}</value></entry>");
        assert!(summary.contains(&entry), "{key}");
    }
}

#[test]
fn the_other_quotas_refuse_the_one_too_many() {
    let mut bed = Bed::with_role();
    let quotas = bed.aws.quotas_mut();
    (quotas.roles, quotas.providers, quotas.client_ids, quotas.attached_policies) = (1, 1, 1, 1);
    let managed = |name: &str| format!("arn:aws:iam::aws:policy/{name}");
    bed.ok("AttachRolePolicy", &[("RoleName", "app"), ("PolicyArn", &managed("ReadOnlyAccess"))]);
    let document = trust("a:b").to_string();
    let view = managed("AmazonS3FullAccess");
    let calls: [(&str, Pairs<'_>, &str); 4] = [
        ("CreateRole", &[("RoleName", "two"), ("AssumeRolePolicyDocument", &document)], "Cannot exceed quota for RolesPerAccount: 1"),
        (
            "CreateOpenIDConnectProvider",
            &[("Url", "https://other.example.com")],
            "Cannot exceed quota for OpenIdConnectProvidersPerAccount: 1",
        ),
        (
            "AddClientIDToOpenIDConnectProvider",
            &[("OpenIDConnectProviderArn", PROVIDER), ("ClientID", "two")],
            "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 1",
        ),
        ("AttachRolePolicy", &[("RoleName", "app"), ("PolicyArn", &view)], "Cannot exceed quota for PoliciesPerRole: 1"),
    ];
    for (action, parameters, message) in calls {
        assert_eq!(bed.refused(action, parameters), (409, "LimitExceeded".into(), message.into()), "{action}");
    }
}
