//! What holds whatever comes in from outside: written once, played by the fuzz targets (`fuzz/`) and by `tests/it/hostile.rs`.
//!
//! Each takes bytes that nobody has looked at, and panics if something does not hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use qovery_irsa::{
    clients::{call::CallError, http, kubernetes::Kubernetes, qovery::Qovery},
    config::{self, DEFAULT_MANIFEST, Flags, Problems},
    model::{
        anchor::{Anchor, SID_PREFIX, StatementKind},
        association::SessionTags,
        desired::DesiredServiceAccount,
        document,
        explain::{PodSession, Said, Verdict, explain, verdict},
        identity::{Binding, Keeper, RoleOrigin, Scope},
        names::{Namespace, ServiceAccountName, Subject},
        oidc::{Audience, Provider},
        output::outputs,
        proof_pod::ProofPod,
        qovery::QoveryAccess,
        secret::Secret,
        service::{Service, ServiceKind},
        subjects::SubjectPattern,
        token::Claims,
        trust::{TrustPolicy, Trusted},
    },
};
use qovery_irsa_sandbox::aws::evaluate::{service_may, who_may_assume_under};
use serde_json::{Value, json};

/// The longest list of problems that a person is shown of any configuration, in bytes.
const LONGEST_ERROR: usize = 64 * 1024;
/// The longest error of a call, in characters.
const LONGEST_CALL_ERROR: usize = 2500;

const ID: &str = "a1b20003-0000-4000-8000-000000000003";

fn variables(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = [("QOVERY_KUBERNETES_NAMESPACE_NAME", "z1-shop"), ("IRSA_QOVERY_TOKEN", "t"), ("QOVERY_ENVIRONMENT_ID", ID)];
    more.iter().chain(&own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A subject that was made from names stands for one ServiceAccount and is a part of nothing else.
fn is_one_subject(subject: &Subject) {
    let claim = subject.claim();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    assert!(claim.bytes().all(allowed), "{claim:?}");
    assert_eq!(claim.split(':').count(), 4, "{claim:?}");
    assert_eq!(Subject::from_claim(&claim).as_ref(), Some(subject));
}

/// Problems are lines for people, and few enough of them.
fn is_readable(problems: &Problems) {
    let text = problems.to_string();
    assert!(text.len() < LONGEST_ERROR, "{} bytes", text.len());
    assert!(!text.lines().any(|line| line.contains(char::is_control)), "{text:?}");
}

/// A manifest of any bytes gives the same configuration or the same problems whenever it is read, and problems are lines for people.
pub fn manifest(data: &[u8]) {
    let prints = Flags { prints: true, ..Flags::default() };
    if let Err(problems) = config::load_install(&prints, variables(&[]), |_| Ok(data.to_vec()), None) {
        is_readable(&problems);
    }
    policy_file(data);
    let load = || {
        config::load(&Flags::default(), variables(&[("TEXT", "${TEXT} *?:\"\n'")]), |path| {
            // Whatever file it names holds a policy.
            Ok(if path == Path::new(DEFAULT_MANIFEST) { data.to_vec() } else { POLICY.into() })
        })
    };
    match (load(), load()) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one, other);
            assert!(!one.identities.is_empty());
            let mut seen = BTreeSet::new();
            for identity in &one.identities {
                is_one_subject(&Subject {
                    namespace: one.environment.namespace.clone(),
                    service_account: identity.service_account.name.clone(),
                });
                assert!(seen.insert(identity.service_account.name.clone()), "twice");
            }
        }
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            is_readable(&one);
        }
        _ => panic!("read twice, it is two things"),
    }
}

const POLICY: &str = r#"{"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}"#;

/// A policy file of any bytes is the document that it says, or a problem that says where it is named.
fn policy_file(data: &[u8]) {
    const NAMES: &str = "identities: [{serviceAccount: app, role: {inlinePolicies: {own: {file: own.json}}}}]";
    let read = |path: &Path| Ok(if path == Path::new(DEFAULT_MANIFEST) { NAMES.into() } else { data.to_vec() });
    match config::load(&Flags::default(), variables(&[]), read) {
        Ok(config) => {
            let RoleOrigin::Managed(role) = &config.identities[0].role.origin else { panic!("another role") };
            let [document] = role.attributes.inline_policies.values().collect::<Vec<_>>()[..] else { panic!("another policy") };
            assert_eq!(serde_json::from_slice::<Value>(data).ok().as_ref(), Some(document));
        }
        Err(problems) => {
            is_readable(&problems);
            assert!(problems.iter().all(|problem| problem.starts_with("qovery.yml:1: identities[0].role.inlinePolicies")), "{problems}");
        }
    }
}

/// Whatever a variable holds becomes part of one text of the manifest, or one name, or a problem; never a key, a list, a pattern, a
/// second subject.
pub fn interpolation(data: &[u8]) {
    const IN_TEXTS: &str = "identities: [{serviceAccount: app, role: {description: \"a ${TEXT} b\", inlinePolicies: {own: {Version: \"2012-10-17\", Statement: [{Effect: Allow, Action: \"s3:*\", Resource: \"arn:aws:s3:::x${TEXT}\"}]}}}}]";
    const IN_NAME: &str = "identities: [{serviceAccount: \"${TEXT}\", role: {extraSubjects: [\"z2/${TEXT}\"]}}]";
    let Ok(value) = std::str::from_utf8(data) else { return };
    if let Ok(config) = config::load(&Flags::default(), variables(&[("TEXT", value)]), |_| Ok(IN_TEXTS.into())) {
        let [identity] = &config.identities[..] else { panic!("{} identities", config.identities.len()) };
        let RoleOrigin::Managed(role) = &identity.role.origin else { panic!("another role") };
        assert_eq!(role.attributes.settings.description.as_deref(), Some(format!("a {value} b").as_str()));
        let [document] = role.attributes.inline_policies.values().collect::<Vec<_>>()[..] else { panic!("another policy") };
        let statement = json!({"Effect": "Allow", "Action": "s3:*", "Resource": format!("arn:aws:s3:::x{value}")});
        assert_eq!(document, &json!({"Version": "2012-10-17", "Statement": [statement]}));
    }
    let named = config::load(&Flags::default(), variables(&[("TEXT", value)]), |_| Ok(IN_NAME.into()));
    let of_variables = [("SERVICE_ACCOUNT_NAME", value), ("IRSA_POLICY_ARNS", "arn:aws:iam::aws:policy/ReadOnlyAccess")];
    let by_variables = config::load(&Flags::default(), variables(&of_variables), |_| no_file());
    let in_namespace = [("QOVERY_KUBERNETES_NAMESPACE_NAME", value)];
    let placed = config::load(&Flags::default(), variables(&in_namespace), |_| Ok("identities: [{serviceAccount: app, role: {}}]".into()));
    for config in [named, by_variables, placed] {
        let Ok(config) = config.inspect_err(is_readable) else { continue };
        for identity in &config.identities {
            let service_account = identity.service_account.name.clone();
            is_one_subject(&Subject { namespace: config.environment.namespace.clone(), service_account });
            identity.role.extra_subjects.iter().for_each(is_one_subject);
        }
    }
    // Only where patterns are asked for may one stand, and never one of all namespaces or of more than the namespace.
    let together = [
        ("SERVICE_ACCOUNT_NAME", "app"),
        ("IRSA_POLICY_ARNS", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
        ("IRSA_SCOPE", "cluster"),
        ("IRSA_ROLE_NAME", "together"),
        ("IRSA_NAMESPACES", value),
    ];
    let Ok(config) = config::load(&Flags::default(), variables(&together), |_| no_file()).inspect_err(is_readable) else { return };
    for identity in &config.identities {
        let Scope::Cluster { namespaces } = &identity.role.scope else { panic!("another scope") };
        for pattern in namespaces {
            let pattern = pattern.as_str();
            assert!(pattern.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit()), "{pattern:?}");
            assert!(
                pattern.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-*?".contains(&byte)),
                "{pattern:?}"
            );
        }
    }
}

fn no_file() -> std::io::Result<Vec<u8>> {
    Err(std::io::ErrorKind::NotFound.into())
}

fn provider() -> Provider {
    let account =
        qovery_irsa::model::arn::Account::of_arn("arn:aws:iam::123456789012:user/a").unwrap_or_else(|problem| panic!("{problem}"));
    Provider::of(&parsed("https://oidc.example.com/id/A"), &account)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

/// The statements that do not bear the tool's mark, in order.
fn unmarked(policy: &TrustPolicy) -> Vec<&Value> {
    let marked = |statement: &Value| statement["Sid"].as_str().is_some_and(|sid| sid.starts_with(SID_PREFIX));
    policy.statements().iter().filter(|statement| !marked(statement)).collect()
}

/// What the tool's statements of a kind ask for, condition by condition.
fn asked(policy: &TrustPolicy, provider: &Provider, kind: StatementKind) -> BTreeSet<Vec<String>> {
    let own = policy.statements().iter().filter(|statement| {
        let rest = statement["Sid"].as_str().and_then(|sid| sid.strip_prefix(SID_PREFIX));
        rest.is_some_and(|rest| rest.starts_with("Cluster") == (kind != StatementKind::Subjects))
            && document::texts(&statement["Principal"]["Federated"]) == [provider.arn.as_str()]
    });
    let conditions = |statement: &Value| {
        let mut conditions = Vec::new();
        for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
            for (key, values) in keys.as_object().into_iter().flatten() {
                let values: BTreeSet<&str> = document::texts(values).into_iter().collect();
                conditions.push(format!("{operator} {} {values:?}", key.to_lowercase()));
            }
        }
        conditions.sort();
        conditions
    };
    own.map(conditions).collect()
}

/// A trust policy that IAM returned is read to the same meaning as it is written; what is foreign in it stays, rendering it again
/// changes nothing, and what is taken to mean the same asks for the same.
pub fn trust_policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(policy) = TrustPolicy::parse(text) else { return };
    let again = TrustPolicy::parse(&policy.minified()).unwrap_or_else(|problem| panic!("{problem}: {}", policy.minified()));
    assert!(document::means_the_same(&policy.to_value(), &again.to_value()));
    let (provider, audience) = (provider(), Audience::default());
    let anchor = Anchor::Oidc(provider.clone());
    let subject = Subject { namespace: parsed("z1"), service_account: parsed("app") };
    let mut patterns = Trusted::nobody(StatementKind::Patterns(None));
    patterns.add(&audience.clone().into(), SubjectPattern::read("system:serviceaccount:z*:app"));
    for trusted in [Trusted::nobody(StatementKind::Subjects), Trusted::named(&audience, [&subject]), patterns] {
        let rendered = policy.rendered(&anchor, &trusted);
        assert!(!rendered.statements().is_empty(), "wider than before");
        assert_eq!(rendered.rendered(&anchor, &trusted).minified(), rendered.minified(), "no fixed point");
        assert_eq!(unmarked(&rendered), unmarked(&policy), "{text}");
        assert_eq!(rendered.own_subjects(&anchor, trusted.kind), trusted.all().cloned().collect(), "{text}");
        if policy.means_the_same(&rendered) {
            assert_eq!(asked(&policy, &provider, trusted.kind), asked(&rendered, &provider, trusted.kind), "{text}");
        }
    }
    let pods = Anchor::PodIdentity(parsed("arn:aws:eks:eu-west-3:123456789012:cluster/demo"), SessionTags::On);
    for trusted in [Trusted::nobody(StatementKind::Subjects), Trusted::named(&Audience::of_pod_identity(), [&subject])] {
        let rendered = policy.rendered(&pods, &trusted);
        assert!(!rendered.statements().is_empty(), "wider than before");
        assert_eq!(rendered.rendered(&pods, &trusted).minified(), rendered.minified(), "no fixed point");
        assert_eq!(unmarked(&rendered), unmarked(&policy), "{text}");
        assert_eq!(rendered.own_subjects(&pods, trusted.kind), trusted.all().cloned().collect(), "{text}");
    }
    let claims = Claims {
        issuer: provider.issuer.to_string(),
        audiences: vec![audience.as_str().to_owned()],
        subject: subject.claim(),
        methods: Vec::new(),
    };
    let verdicts = explain(&policy, &provider, &claims);
    if policy.foreign_trusts(&anchor, &audience, &subject) {
        assert!(verdicts.contains(&Said::Allows), "{text}");
    }
    let _ = policy.deleted_principals();
    is_judged_as_iam_does(&policy, &provider, &claims);
    for tags in [SessionTags::On, SessionTags::Off] {
        is_judged_as_iam_does_for_pods(&policy, &subject, tags);
    }
}

/// The same of a session that EKS opens for a pod: what is certain holds whichever pod it is, and whatever else the request has.
///
/// # Panics
/// The product says that EKS is let in or kept out, and the sandbox's evaluator says otherwise.
fn is_judged_as_iam_does_for_pods(policy: &TrustPolicy, subject: &Subject, tags: SessionTags) {
    let (arn, document) = ("arn:aws:eks:eu-west-3:123456789012:cluster/demo", policy.to_value());
    let cluster = parsed(arn);
    let session = PodSession { cluster: &cluster, subject, tags };
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |key: &str, value: &str| drop(known.insert(key.to_owned(), vec![value.to_owned()]));
    add("aws:sourceaccount", "123456789012");
    add("aws:sourcearn", arn);
    add("aws:principalservicename", "pods.eks.amazonaws.com");
    if tags == SessionTags::On {
        add("aws:requesttag/eks-cluster-arn", arn);
        add("aws:requesttag/eks-cluster-name", "demo");
        add("aws:requesttag/kubernetes-namespace", subject.namespace.as_str());
        add("aws:requesttag/kubernetes-service-account", subject.service_account.as_str());
    }
    let pods = ["aws:requesttag/kubernetes-pod-name", "aws:requesttag/kubernetes-pod-uid"];
    let conditions =
        policy.statements().iter().flat_map(|statement| statement["Condition"].as_object().into_iter().flat_map(|of| of.values()));
    let asked =
        conditions.flat_map(|keys| keys.as_object().into_iter().flatten()).map(|(key, values)| (key.to_lowercase(), values.clone()));
    let asked: Vec<(String, Value)> = asked
        .filter(|(key, _)| !known.contains_key(key) && (!key.starts_with("aws:requesttag/") || pods.contains(&key.as_str())))
        .collect();
    for action in session.actions() {
        let verdict = verdict(&session.explain(policy, action));
        for setting in 0..3 {
            let mut context = known.clone();
            for (key, values) in &asked {
                // Every pod has a name and an id, where there are tags.
                let is_tag = pods.contains(&key.as_str());
                if (is_tag && tags == SessionTags::Off) || (!is_tag && setting == 0) {
                    continue;
                }
                let value = document::texts(values).first().map(|value| value.replace('*', "x")).filter(|_| setting == 1);
                context.insert(key.clone(), vec![value.unwrap_or_else(|| "else".to_owned())]);
            }
            let allowed = service_may(&document, "pods.eks.amazonaws.com", action, &context);
            match verdict {
                Verdict::Allowed => assert!(allowed, "said to be let in, under {context:?}: {document}"),
                Verdict::Refused => assert!(!allowed, "said to be kept out, under {context:?}: {document}"),
                Verdict::Unknown => {}
            }
        }
    }
}

/// What is certain holds whatever else a request has: the keys that the document names absent, as it asks for them, and otherwise.
///
/// # Panics
/// The product says that a token is let in or kept out, and the sandbox's evaluator, which is written apart from it, says otherwise.
pub fn is_judged_as_iam_does(policy: &TrustPolicy, provider: &Provider, claims: &Claims) {
    let verdict = verdict(&explain(policy, provider, claims));
    let document = policy.to_value();
    let host = provider.issuer.host_and_path();
    let of_token: Vec<String> = ["sub", "aud", "amr"].iter().map(|claim| format!("{host}:{claim}").to_lowercase()).collect();
    let mut asked: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for statement in policy.statements() {
        for keys in statement["Condition"].as_object().into_iter().flat_map(|operators| operators.values()) {
            for (key, values) in keys.as_object().into_iter().flatten() {
                // No request has the claims of two issuers.
                let is_claim = [":sub", ":aud", ":amr"].iter().any(|claim| key.to_lowercase().ends_with(claim));
                if !of_token.contains(&key.to_lowercase()) && !is_claim {
                    let values = document::texts(values).into_iter().map(|value| value.replace('*', "x"));
                    asked.entry(key.clone()).or_default().extend(values);
                }
            }
        }
    }
    let each = |value: &dyn Fn(&[String]) -> Vec<String>| -> BTreeMap<String, Vec<String>> {
        asked.iter().map(|(key, values)| (key.clone(), value(values))).collect()
    };
    let settings = [
        BTreeMap::new(),
        each(&|values| values.first().cloned().into_iter().collect()),
        each(&|values| values.last().cloned().into_iter().collect()),
        each(&|_| vec!["else".to_owned()]),
        each(&|_| vec!["10.1.2.3".to_owned()]),
        each(&<[String]>::to_vec),
    ];
    for others in settings {
        // A key without a value is not there.
        let others = others.into_iter().filter(|(_, values)| !values.is_empty()).collect();
        let subject = std::slice::from_ref(&claims.subject);
        let allowed = !who_may_assume_under(&document, &provider.arn, host, &claims.audiences[0], subject, &others).is_empty();
        match verdict {
            Verdict::Allowed => assert!(allowed, "said to be let in, under {others:?}: {document}"),
            Verdict::Refused => assert!(!allowed, "said to be kept out, under {others:?}: {document}"),
            Verdict::Unknown => {}
        }
    }
}

/// What was percent-encoded is what comes back; what was not is an answer too, or a problem.
pub fn percent_decoding(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let encoded = text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    assert_eq!(document::percent_decoded(&encoded).as_deref(), Ok(text));
    if let Ok(decoded) = document::percent_decoded(text) {
        assert!(decoded.len() <= text.len());
        trust_policy(decoded.as_bytes());
    }
}

/// A token of any bytes has claims or none.
pub fn jwt_claims(data: &[u8]) {
    let _ = Claims::of(&String::from_utf8_lossy(data));
    let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(data));
    if let Some(claims) = Claims::of(&token) {
        let payload: Value = serde_json::from_slice(data).unwrap_or_else(|error| panic!("claims out of no JSON: {error}"));
        assert_eq!((payload["sub"].as_str(), payload["iss"].as_str()), (Some(claims.subject.as_str()), Some(claims.issuer.as_str())));
        let _ = qovery_irsa::model::diagnosis::diagnose(&claims, &provider(), None, None);
    }
}

/// Outputs have names that Qovery takes, two for each ServiceAccount.
pub fn output_names(data: &[u8]) {
    let names: BTreeSet<ServiceAccountName> = String::from_utf8_lossy(data).split('\n').filter_map(|name| name.parse().ok()).collect();
    let wanted: Vec<DesiredServiceAccount> = names
        .into_iter()
        .map(|service_account| DesiredServiceAccount {
            subject: Subject { namespace: parsed::<Namespace>("z1"), service_account },
            role: parsed("arn:aws:iam::123456789012:role/app"),
            binding: Binding::default(),
            annotations: [].into(),
            labels: [].into(),
            automount: None,
            keeper: Keeper::Tool,
            job: None,
        })
        .collect();
    let outputs = outputs(&wanted, None, &BTreeSet::new());
    let told: BTreeSet<&str> = outputs.values().map(|output| output.value.as_str()).collect();
    assert_eq!(outputs.len(), 3 * wanted.len());
    assert!(wanted.iter().all(|wanted| told.contains(wanted.subject.service_account.as_str())));
    for name in outputs.keys() {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.as_bytes()[0].is_ascii_digit(), "{name}");
    }
}

/// An API that answers these bytes to everything, and the clients of the job that ask it.
struct Api {
    answer: Arc<Mutex<Vec<u8>>>,
    runtime: tokio::runtime::Runtime,
    kubernetes: Kubernetes,
    qovery: Qovery,
}

impl Api {
    fn new() -> Self {
        http::install_crypto();
        let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
        let url = listener.local_addr().map_or_else(|error| panic!("{error}"), |address| format!("http://{address}"));
        let shown = Arc::clone(&answer);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = shown.lock().map(|answer| stream.write_all(&answer));
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap_or_else(|error| panic!("{error}"));
        let of_runtime = runtime.enter();
        let kubernetes = Kubernetes::by_bearer_token(&url, b"", || "token".to_owned()).unwrap_or_else(|problem| panic!("{problem}"));
        let access = QoveryAccess { url: parsed(&url), token: Secret::new("token".to_owned()), environment: parsed(ID) };
        let qovery = Qovery::new(&access, &http::client().unwrap_or_else(|problem| panic!("{problem}")));
        drop(of_runtime);
        Self { answer, runtime, kubernetes, qovery }
    }

    /// The first byte is which status it is, as `2` is 200, `6` 403 and `8` 409; the rest the body.
    fn answers(&self, data: &[u8]) {
        let (status, body) = data.split_first().map_or((0, data), |(status, body)| (*status, body));
        let status = [200, 201, 400, 401, 403, 404, 409, 429, 500, 503][usize::from(status) % 10];
        let head =
            format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        if let Ok(mut answer) = self.answer.lock() {
            *answer = [head.as_bytes(), body].concat();
        }
    }
}

thread_local! {
    static API: Api = Api::new();
}

/// There is an answer or an error, and an error is one line of bounded length and says something, whatever the service said.
async fn is_told<T>(answer: impl Future<Output = Result<T, CallError>>) {
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await.unwrap_or_else(|_| panic!("neither answer nor error"));
    let Err(error) = answer else { return };
    let text = error.to_string();
    assert!(!text.is_empty() && text.chars().count() <= LONGEST_CALL_ERROR, "{} bytes", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// Whatever the API server answers is an answer or an error.
pub fn kubernetes_answers(data: &[u8]) {
    let subject = Subject { namespace: parsed("z1"), service_account: parsed("app") };
    API.with(|api| {
        api.answers(data);
        api.runtime.block_on(async {
            is_told(api.kubernetes.service_account(&subject)).await;
            is_told(api.kubernetes.token(&subject, &Audience::default())).await;
            is_told(api.kubernetes.issuer()).await;
            is_told(api.kubernetes.namespaces()).await;
            is_told(api.kubernetes.pods_of(&subject)).await;
            is_told(api.kubernetes.pods_in(&subject.namespace)).await;
            is_told(api.kubernetes.proof_pods_in(&subject.namespace)).await;
            is_told(api.kubernetes.agent_daemon_set()).await;
            is_told(api.kubernetes.create_proof_pod(&ProofPod::new(&subject, None, 1))).await;
            is_told(api.kubernetes.delete_proof_pod(&subject.namespace, "pod")).await;
            is_told(api.kubernetes.release_service_account(&subject, "uid")).await;
        });
    });
}

/// Whatever Qovery answers is an answer or an error.
pub fn qovery_answers(data: &[u8]) {
    API.with(|api| {
        api.answers(data);
        api.runtime.block_on(async {
            let id = parsed(ID);
            let service = Service { id: parsed(ID), name: "api".to_owned(), kind: ServiceKind::Application };
            is_told(api.qovery.services()).await;
            is_told(api.qovery.service_account_of(&service)).await;
            is_told(api.qovery.bind(&service, &parsed("app"), None)).await;
            is_told(api.qovery.place()).await;
            is_told(api.qovery.stages()).await;
            is_told(api.qovery.job(&id)).await;
            is_told(api.qovery.registries(&id)).await;
            is_told(api.qovery.git_tokens(&id)).await;
        });
    });
}
