//! A sandbox for a person or for clients that nobody here wrote: it runs until it is told to stop and prints how to reach it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    aws::{Addon, Aws},
    engine::{Engine, JobEnd, JobRun},
    qovery::{Kind, TOKEN},
    sandbox::{ADMIN_TOKEN, NOBODY_TOKEN, Sandbox, Setup},
};

/// How long a step of a deployment takes at least, so that a person can follow it.
const PAUSE: Duration = Duration::from_millis(300);

/// What is served.
#[derive(Clone, Debug, Default)]
pub struct Serve {
    /// What the sandbox is made of.
    pub setup: Setup,
    /// Namespaces made at the start.
    pub namespaces: Vec<String>,
    /// For which `ServiceAccount`, as `namespace/name`, a web identity token file is written; it need not exist.
    pub web_identity: Option<String>,
}

/// Starts a sandbox, writes `export NAME='value'` lines for a shell, and returns when interrupted or terminated. Until then Qovery's engine
/// carries out whatever is asked for, and runs jobs so.
///
/// # Errors
/// When the sandbox does not start or its lines cannot be written.
pub fn serve(mut options: Serve, job: impl Fn(&JobRun) -> JobEnd + Send + Sync, out: &mut dyn Write) -> io::Result<()> {
    // Here a 501 is an answer to a person, not the end of a test.
    options.setup.strict = false;
    let sandbox = options.setup.clone().start()?;
    sandbox.kubernetes(|kubernetes| {
        for namespace in &options.namespaces {
            kubernetes.add_namespace(namespace);
        }
    });
    // A person who tries EKS Pod Identity has no add-on to install here.
    let cluster = sandbox.cluster().name().to_owned();
    sandbox.aws(|aws| {
        let agent = Addon { version: "v1.3.8-eksbuild.2".to_owned(), status: "ACTIVE".to_owned(), ..Addon::default() };
        aws.cluster_mut(&cluster).map(|cluster| cluster.addons.insert("eks-pod-identity-agent".to_owned(), agent));
    });
    let mut exports = exports(&sandbox);
    exports.extend(qovery_exports(&sandbox, options.namespaces.first().map_or("default", String::as_str)));
    if let Some(account) = &options.web_identity {
        let (namespace, name) =
            account.split_once('/').ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a web identity is `namespace/name`"))?;
        let file = sandbox.files().join("web-identity-token");
        fs::write(&file, sandbox.cluster().token(namespace, name, "sts.amazonaws.com"))?;
        exports.insert("WEB_IDENTITY_TOKEN_FILE".into(), file.display().to_string());
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (served, _) = Engine::new(&sandbox, job).with_pause(PAUSE).in_background(|| {
        runtime.block_on(async {
            // Before the lines are out: whoever has read them may stop it.
            let mut interrupted = signal(SignalKind::interrupt())?;
            let mut terminated = signal(SignalKind::terminate())?;
            print(&exports, out)?;
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
            Ok(())
        })
    });
    served
}

/// The environment of a job, and what curl, the aws CLI and boto3 want besides.
fn exports(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut exports = sandbox.environment();
    let admin = Aws::admin();
    let certificate = exports.get("SSL_CERT_FILE").cloned().unwrap_or_default();
    exports.extend(
        [
            ("AK", admin.access_key_id),
            ("SK", admin.secret_access_key),
            ("AWS_BASE", sandbox.aws_url()),
            ("AWS_CA_BUNDLE", certificate),
            ("AWS_DEFAULT_REGION", sandbox.setup().region.clone()),
            ("ISS", sandbox.setup().issuer.clone()),
            ("KUBERNETES_BASE", sandbox.kubernetes_url()),
            ("ADMIN_TOKEN", ADMIN_TOKEN.into()),
            ("NOBODY_TOKEN", NOBODY_TOKEN.into()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    exports
}

/// An environment of Qovery in this namespace, with an application and a container, and how to reach it.
fn qovery_exports(sandbox: &Sandbox, namespace: &str) -> BTreeMap<String, String> {
    let environment = sandbox.qovery(|qovery| {
        let environment = qovery.add_environment("shop", namespace);
        qovery.add_service(&environment, Kind::Application, "api");
        qovery.add_service(&environment, Kind::Container, "worker");
        qovery.add_registry("my-registry");
        environment
    });
    [("QOVERY_API_TOKEN", TOKEN.to_owned()), ("QOVERY_ENVIRONMENT_ID", environment)].map(|(name, value)| (name.to_owned(), value)).into()
}

fn print(exports: &BTreeMap<String, String>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# A local AWS, Kubernetes and Qovery for qovery-irsa. Write these lines to a file and read it in another shell:")?;
    writeln!(out, "#   cargo run --example sandbox -- serve > sandbox.env &   then   . ./sandbox.env")?;
    for (name, value) in exports {
        writeln!(out, "export {name}={}", quoted(value))?;
    }
    writeln!(out, "# aws CLI and boto3: take AWS_ENDPOINT_URL and AWS_CA_BUNDLE from above:   aws sts get-caller-identity")?;
    writeln!(out, "# curl: curl --cacert $SSL_CERT_FILE -H \"Authorization: Bearer $ADMIN_TOKEN\" $KUBERNETES_BASE/version")?;
    writeln!(
        out,
        "# Qovery: an environment with services `api` and `worker` and a registry `my-registry`. Its deployments are carried out."
    )?;
    writeln!(out, "# the way in, as an administrator of an account and a cluster where nothing is made yet:")?;
    writeln!(
        out,
        "#   qovery-irsa bootstrap --namespaces 'z*' --boundary docs/permissions/boundary.json   then the `install` that it prints"
    )?;
    writeln!(out, "# the job by hand: set QOVERY_KUBERNETES_NAMESPACE_NAME to a namespace that exists, then:   qovery-irsa plan")?;
    writeln!(out, "# through EKS instead of the kubeconfig: unset KUBECONFIG")?;
    writeln!(out, "# ready")?;
    out.flush()
}

/// Quoted for a shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_a_shell_script_that_ends_in_ready() {
        let sandbox = Sandbox::start();
        let mut out = Vec::new();
        print(&exports(&sandbox), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in text.lines() {
            assert!(line.starts_with('#') || line.starts_with("export "), "{line}");
        }
        assert!(text.contains(&format!("export AWS_BASE='{}'\n", sandbox.aws_url())));
        assert!(text.contains("export ADMIN_TOKEN='admin-token'\n"));
        assert!(text.ends_with("# ready\n"));
    }

    #[test]
    fn a_value_is_quoted_for_the_shell() {
        for (value, quoted_wanted) in [("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$(x)", "'$(x)'")] {
            assert_eq!(quoted(value), quoted_wanted);
        }
    }

    #[test]
    fn a_web_identity_without_a_slash_is_refused() {
        let options = Serve { web_identity: Some("app".into()), ..Serve::default() };
        let error = serve(options, |_| JobEnd { code: 1 }, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
