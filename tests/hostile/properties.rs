//! What holds whatever comes in from outside: written once, played by the fuzz targets (`fuzz/`) and by `tests/it/hostile.rs`.
//!
//! Each takes bytes that nobody has looked at, and panics if something does not hold.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use qovery_irsa::{
    call::CallError,
    config::{self, Flags, QoveryAccess},
    http,
    kubernetes::Kubernetes,
    model::{
        desired::DesiredServiceAccount,
        document,
        identity::RoleOrigin,
        names::{Namespace, ServiceAccountName, Subject},
        oidc::{Audience, Provider},
        secret::Secret,
        service::{Service, ServiceKind},
        token::Claims,
        trust::{Kind, TrustPolicy, Trusted},
    },
    output,
    qovery::Qovery,
};
use serde_json::{Value, json};

/// The longest error that a person is shown of any input, in bytes.
const LONGEST_ERROR: usize = 64 * 1024;

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

/// A manifest of any bytes gives the same configuration or the same problems whenever it is read, and problems are lines for people.
pub fn manifest(data: &[u8]) {
    let load = || config::load(&Flags::default(), variables(&[("TEXT", "${TEXT} *?:\"\n'")]), |_| Ok(data.to_vec()));
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
            let text = one.to_string();
            assert_eq!(text, other.to_string());
            assert!(text.len() < LONGEST_ERROR, "{} bytes", text.len());
            assert!(!text.lines().any(|line| line.contains(char::is_control)), "{text:?}");
        }
        _ => panic!("read twice, it is two things"),
    }
}

/// Whatever a variable holds becomes part of one text of the manifest, or one name, or a problem; never a key, a list, a pattern, a
/// second subject.
pub fn interpolation(data: &[u8]) {
    let Ok(value) = std::str::from_utf8(data) else { return };
    const IN_TEXTS: &str = "identities: [{serviceAccount: app, role: {description: \"a ${TEXT} b\", inlinePolicies: {own: {Version: \"2012-10-17\", Statement: [{Effect: Allow, Action: \"s3:*\", Resource: \"x${TEXT}\"}]}}}}]";
    if let Ok(config) = config::load(&Flags::default(), variables(&[("TEXT", value)]), |_| Ok(IN_TEXTS.into())) {
        let [identity] = &config.identities[..] else { panic!("{} identities", config.identities.len()) };
        let RoleOrigin::Made(role) = &identity.role.origin else { panic!("another role") };
        assert_eq!(role.description.as_deref(), Some(format!("a {value} b").as_str()));
        let [document] = role.inline_policies.values().collect::<Vec<_>>()[..] else { panic!("another policy") };
        let statement = json!({"Effect": "Allow", "Action": "s3:*", "Resource": format!("x{value}")});
        assert_eq!(document, &json!({"Version": "2012-10-17", "Statement": [statement]}));
    }
    const IN_NAME: &str = "identities: [{serviceAccount: \"${TEXT}\", role: {extraSubjects: [\"z2/${TEXT}\"]}}]";
    let named = config::load(&Flags::default(), variables(&[("TEXT", value)]), |_| Ok(IN_NAME.into()));
    let by_variables =
        config::load(&Flags::default(), variables(&[("SERVICE_ACCOUNT_NAME", value), ("IRSA_POLICY_ARNS", "")]), |_| unreachable());
    let in_namespace = [("QOVERY_KUBERNETES_NAMESPACE_NAME", value)];
    let placed = config::load(&Flags::default(), variables(&in_namespace), |_| Ok("identities: [{serviceAccount: app, role: {}}]".into()));
    for config in [named, by_variables, placed].into_iter().flatten() {
        for identity in &config.identities {
            let service_account = identity.service_account.name.clone();
            is_one_subject(&Subject { namespace: config.environment.namespace.clone(), service_account });
            identity.role.extra_subjects.iter().for_each(is_one_subject);
        }
    }
}

fn unreachable() -> std::io::Result<Vec<u8>> {
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

/// A trust policy that IAM returned is read to the same meaning as it is written; what is foreign in it stays, and rendering it again
/// changes nothing.
pub fn trust_policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(policy) = TrustPolicy::parse(text) else { return };
    let again = TrustPolicy::parse(&policy.minified()).unwrap_or_else(|problem| panic!("{problem}: {}", policy.minified()));
    assert!(document::means_the_same(&policy.to_value(), &again.to_value()));
    let (provider, audience) = (provider(), Audience::default());
    let subject = Subject { namespace: parsed("z1"), service_account: parsed("app") };
    for trusted in [Trusted::nobody(Kind::Subjects), Trusted::subjects(&audience, [&subject])] {
        let rendered = policy.rendered(&provider, &trusted);
        assert!(!rendered.statements().is_empty(), "wider than before");
        assert_eq!(rendered.rendered(&provider, &trusted).minified(), rendered.minified(), "no fixed point");
        // What is not ours stands as it stood, in order.
        let kept: Vec<&Value> = policy.statements().iter().filter(|statement| rendered.statements().contains(statement)).collect();
        assert!(kept.len() >= policy.foreign_count(&provider).min(policy.statements().len()), "{text}");
        let claims = rendered.own_claims(&provider, Kind::Subjects);
        assert_eq!(claims, trusted.claims.values().flatten().cloned().collect(), "{text}");
    }
    let _ = (policy.foreign_trusts(&provider, &audience, &subject), policy.deleted_principals());
}

/// What was percent-encoded is what comes back; what was not is an answer too, or a problem.
pub fn percent_decoding(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
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
        let _ = qovery_irsa::model::diagnosis::broken(&claims, &provider(), None, None);
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
            annotations: [].into(),
            labels: [].into(),
            automount: None,
        })
        .collect();
    let outputs = output::outputs(&wanted);
    assert_eq!(outputs.len(), 2 * wanted.len());
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
        let kubernetes = Kubernetes::by_bearer_token(&url, b"", "token".to_owned()).unwrap_or_else(|problem| panic!("{problem}"));
        let access = QoveryAccess { url: parsed(&url), token: Secret::new("token".to_owned()), environment: parsed(ID) };
        let qovery = Qovery::new(&access, &http::client().unwrap_or_else(|problem| panic!("{problem}")));
        drop(of_runtime);
        Self { answer, runtime, kubernetes, qovery }
    }

    /// The first byte is which status it is, the rest the body.
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

/// An error is bounded and says something, whatever the service said.
fn is_told<T>(answer: Result<T, CallError>) {
    if let Err(error) = answer {
        let text = error.to_string();
        assert!(!text.is_empty() && text.len() < LONGEST_ERROR, "{} bytes", text.len());
    }
}

/// Whatever the API server answers is an answer or an error.
pub fn kubernetes_answers(data: &[u8]) {
    let subject = Subject { namespace: parsed("z1"), service_account: parsed("app") };
    API.with(|api| {
        api.answers(data);
        api.runtime.block_on(async {
            is_told(api.kubernetes.service_account(&subject).await);
            is_told(api.kubernetes.token(&subject, &Audience::default()).await);
            is_told(api.kubernetes.issuer().await);
            is_told(api.kubernetes.namespaces().await);
            is_told(api.kubernetes.pods_of(&subject).await);
            is_told(api.kubernetes.release_service_account(&subject, "uid").await);
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
            is_told(api.qovery.services().await);
            is_told(api.qovery.service_account_of(&service).await);
            is_told(api.qovery.bind(&service, &parsed("app"), None).await);
            is_told(api.qovery.place().await);
            is_told(api.qovery.stages().await);
            is_told(api.qovery.job(&id).await);
            is_told(api.qovery.registries(&id).await);
            is_told(api.qovery.git_tokens(&id).await);
        });
    });
}
