//! A real kube-apiserver with its etcd, as processes of this run: RBAC on, tokens signed by a key of its own, no controllers.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::failure::{Doing as _, Failure};

/// Of the form that EKS gives its clusters. Nobody is there: whoever verifies tokens of this cluster must know its key.
pub(crate) const ISSUER: &str = "https://oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE";
pub(crate) const ADMIN_TOKEN: &str = "admin";
/// Of a user in the group that `docs/permissions/rbac.yaml` binds, and in no other.
pub(crate) const JOB_TOKEN: &str = "job";
/// Of a user that nothing is bound to.
pub(crate) const NOBODY_TOKEN: &str = "nobody";
const USERS: &str = "admin,admin,1,\"system:masters\"\njob,job,2,\"qovery-irsa\"\nnobody,nobody,3\n";

/// The processes; they are ended when this is dropped.
pub(crate) struct ApiServer {
    pub(crate) url: String,
    pub(crate) authority: String,
    pub(crate) version: String,
    running: Vec<Child>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The API server before what it stores in.
        for child in self.running.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where etcd and kube-apiserver are.
fn binaries() -> Result<(PathBuf, PathBuf), Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let found = match (variable("KUBEBUILDER_ASSETS"), variable("ETCD"), variable("KUBE_APISERVER")) {
        (Some(folder), ..) => (folder.join("etcd"), folder.join("kube-apiserver")),
        (None, Some(etcd), Some(api_server)) => (etcd, api_server),
        _ => {
            return Err(Failure::new(
                "there is no kube-apiserver\n  set `KUBEBUILDER_ASSETS` to a folder with `etcd` and `kube-apiserver`, or `ETCD` and `KUBE_APISERVER` to the files; \
                 `tests/conformance/kube-assets DIR` makes such a folder from Debian's source package",
            ));
        }
    };
    for file in [&found.0, &found.1] {
        if !file.is_file() {
            return Err(Failure::new(format!("`{}` is not there; `tests/conformance/kube-assets DIR` makes it", file.display())));
        }
    }
    Ok(found)
}

fn free_port() -> Result<u16, Failure> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(bound.doing(|| "there is no free port".to_owned())?.port())
}

impl ApiServer {
    /// Starts both below this folder; they may not answer yet.
    ///
    /// # Errors
    /// They are not there, or end at once.
    pub(crate) fn start(folder: &Path) -> Result<Self, Failure> {
        let (etcd, api_server) = binaries()?;
        let certificates = folder.join("certificates");
        let key = rcgen::KeyPair::generate().doing(|| "cannot make a key for ServiceAccount tokens".to_owned())?;
        let write = |name: &str, content: &str| -> Result<String, Failure> {
            let path = folder.join(name);
            std::fs::write(&path, content).doing(|| format!("cannot write `{}`", path.display()))?;
            Ok(path.display().to_string())
        };
        let private = write("tokens.key", &key.serialize_pem())?;
        let public = write("tokens.pub", &key.public_key_pem())?;
        let users = write("users.csv", USERS)?;
        let (client, peer, secure) = (free_port()?, free_port()?, free_port()?);
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));

        let mut server =
            Self { url: format!("https://127.0.0.1:{secure}"), authority: String::new(), version: String::new(), running: Vec::new() };
        let version = Command::new(&api_server).arg("--version").output();
        let version = version.doing(|| format!("cannot run `{}`", api_server.display()))?;
        String::from_utf8_lossy(&version.stdout).trim().clone_into(&mut server.version);

        let mut store = Command::new(&etcd);
        store.args(["--name=conformance", "--unsafe-no-fsync"]).arg("--data-dir").arg(folder.join("etcd"));
        for (option, value) in [
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &format!("conformance={peer}")),
        ] {
            store.arg(format!("{option}={value}"));
        }
        server.run(store, folder, "etcd.log")?;

        let mut api = Command::new(&api_server);
        api.arg("--cert-dir").arg(&certificates);
        for (option, value) in [
            ("--etcd-servers", client.as_str()),
            ("--bind-address", "127.0.0.1"),
            ("--secure-port", &secure.to_string()),
            ("--service-cluster-ip-range", "10.96.0.0/16"),
            ("--endpoint-reconciler-type", "none"),
            ("--authorization-mode", "RBAC"),
            ("--token-auth-file", &users),
            ("--service-account-issuer", ISSUER),
            ("--service-account-signing-key-file", &private),
            ("--service-account-key-file", &public),
            ("--api-audiences", "https://kubernetes.default.svc"),
        ] {
            api.arg(format!("{option}={value}"));
        }
        server.run(api, folder, "kube-apiserver.log")?;

        let certificate = certificates.join("apiserver.crt");
        let started = Instant::now();
        loop {
            if let Ok(authority) = std::fs::read_to_string(&certificate)
                && authority.contains("-----END CERTIFICATE-----")
            {
                server.authority = authority;
                return Ok(server);
            }
            server.check_running(folder)?;
            if started.elapsed() > Duration::from_mins(1) {
                return Err(Failure::new(format!("kube-apiserver did not start\n{}", end_of(&folder.join("kube-apiserver.log")))));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn run(&mut self, mut command: Command, folder: &Path, log: &str) -> Result<(), Failure> {
        let log = File::create(folder.join(log)).doing(|| format!("cannot write `{log}`"))?;
        let program = command.get_program().display().to_string();
        let child = command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.running.push(child.doing(|| format!("cannot run `{program}`"))?);
        Ok(())
    }

    /// # Errors
    /// One of the two has ended.
    pub(crate) fn check_running(&mut self, folder: &Path) -> Result<(), Failure> {
        for (child, log) in self.running.iter_mut().zip(["etcd.log", "kube-apiserver.log"]) {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(Failure::new(format!("{log}: ended with {status}\n{}", end_of(&folder.join(log)))));
            }
        }
        Ok(())
    }
}

fn end_of(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
