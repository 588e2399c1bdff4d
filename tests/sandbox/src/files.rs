//! The files that a client needs: the authority's certificate, a kubeconfig, a mounted token.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::sandbox::ADMIN_TOKEN;

/// Where the kubeconfig of a cluster's directory is.
pub(crate) fn kubeconfig(directory: &Path) -> PathBuf {
    directory.join("kubeconfig")
}

/// The administrator's access to a cluster.
pub(crate) fn write_kubeconfig(directory: &Path, authority: &str, server: &str, cluster: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // JSON is YAML, and the only YAML this crate writes.
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [{ "name": cluster, "cluster": {
            "server": server,
            "certificate-authority-data": BASE64_STANDARD.encode(authority),
        } }],
        "users": [{ "name": "admin", "user": { "token": ADMIN_TOKEN } }],
        "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": "admin" } }],
    });
    fs::write(kubeconfig(directory), document.to_string())
}

/// `token`, `namespace` and `ca.crt` in a directory below, as the kubelet mounts them.
pub(crate) fn mount(directory: &Path, namespace: &str, token: &str, authority: &str) -> io::Result<PathBuf> {
    let mounted = directory.join("serviceaccount");
    fs::create_dir_all(&mounted)?;
    for (name, content) in [("token", token), ("namespace", namespace), ("ca.crt", authority)] {
        fs::write(mounted.join(name), content)?;
    }
    Ok(mounted)
}
