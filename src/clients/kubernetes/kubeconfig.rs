//! The kubeconfig, read and merged as kubectl does it. kube reads one with a YAML parser of its own; this has the one that the manifest is
//! read with, and the binary is a good hundred kilobytes smaller.
//! <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>

use std::{
    env,
    path::{MAIN_SEPARATOR, Path, PathBuf},
};

use kube::config::Kubeconfig;
use serde::Deserialize as _;
use serde_json::Value;

use super::file;

/// The files that `KUBECONFIG` names, the first to say something first; else the user's.
///
/// # Errors
/// In words, without anything that stands in it: a file cannot be read, is no kubeconfig, or there is none.
pub(super) fn read() -> Result<Kubeconfig, String> {
    let named: Vec<PathBuf> =
        env::var_os("KUBECONFIG").iter().flat_map(env::split_paths).filter(|path| !path.as_os_str().is_empty()).collect();
    let paths = match (named.as_slice(), env::home_dir()) {
        ([], Some(home)) => vec![home.join(".kube").join("config")],
        ([], None) => return Err("there is none: set `KUBECONFIG`".to_owned()),
        _ => named,
    };
    paths.iter().try_fold(Kubeconfig::default(), |merged, path| merge(merged, file(path)?))
}

fn file(path: &Path) -> Result<Kubeconfig, String> {
    let content = file::read(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let text = String::from_utf8(content).map_err(|_| format!("`{}`: it is not UTF-8", path.display()))?;
    let mut merged = Kubeconfig::default();
    for document in documents(text.trim_start_matches('\u{feff}')) {
        let mut config = document.ok_or_else(|| "it is not the YAML of a kubeconfig".to_owned())?;
        path.parent().into_iter().for_each(|directory| resolve(&mut config, directory));
        merged = merge(merged, config)?;
    }
    Ok(merged)
}

/// The documents of a file; none for what is not a kubeconfig.
fn documents(text: &str) -> impl Iterator<Item = Option<Kubeconfig>> {
    let values = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).ok());
    values.filter(|value| *value != Some(Value::Null)).map(|value| serde_json::from_value(value?).ok())
}

fn merge(one: Kubeconfig, next: Kubeconfig) -> Result<Kubeconfig, String> {
    one.merge(next).map_err(|_| "its files are not of one kind and version".to_owned())
}

/// Files are named from the kubeconfig's own directory; a program too, if its name has a separator.
fn resolve(config: &mut Kubeconfig, directory: &Path) {
    let absolute = |path: &mut Option<String>| {
        if let Some(relative) = path.as_ref().filter(|path| Path::new(path).is_relative()) {
            *path = directory.join(relative).to_str().map(str::to_owned).or_else(|| path.clone());
        }
    };
    config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()).for_each(|cluster| absolute(&mut cluster.certificate_authority));
    for user in config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        absolute(&mut user.client_certificate);
        absolute(&mut user.client_key);
        absolute(&mut user.token_file);
        if let Some(exec) = user.exec.as_mut().filter(|exec| exec.command.as_ref().is_some_and(|command| command.contains(MAIN_SEPARATOR)))
        {
            absolute(&mut exec.command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_merged_and_files_found_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        let text = "\u{feff}apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n- name: a\n  cluster: {server: \"https://a\", certificate-authority: ca.crt}\nusers:\n- name: a\n  user: {tokenFile: t, exec: {apiVersion: client.authentication.k8s.io/v1, command: bin/login}}\n- name: b\n  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}}\ncontexts: ~\n---\n---\ncurrent-context: b\ncontexts:\n- name: a\n  context: {cluster: a, user: a}\n";
        std::fs::write(&path, text).unwrap();
        let config = file(&path).unwrap();
        let beside = |name: &str| Some(directory.path().join(name).display().to_string());
        assert_eq!((config.current_context.as_deref(), config.contexts.len()), (Some("a"), 1));
        assert_eq!(config.clusters[0].cluster.as_ref().unwrap().certificate_authority, beside("ca.crt"));
        let user = |index: usize| config.auth_infos[index].auth_info.as_ref().unwrap();
        assert_eq!((user(0).token_file.clone(), user(0).exec.as_ref().unwrap().command.clone()), (beside("t"), beside("bin/login")));
        assert_eq!(user(1).exec.as_ref().unwrap().command.as_deref(), Some("aws"), "a bare name is looked for on the path");
    }

    #[test]
    fn what_is_no_kubeconfig_is_an_error_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        for text in ["users: [{token: planted", "[planted]", "clusters: planted", "kind: A\n---\nkind: B\n"] {
            std::fs::write(&path, text).unwrap();
            let error = file(&path).unwrap_err();
            assert!(!error.contains("planted") && error.starts_with("it"), "{text}: {error}");
        }
        std::fs::write(&path, [0xff, 0xff]).unwrap();
        assert!(file(&path).unwrap_err().ends_with("it is not UTF-8"));
        assert!(file(&directory.path().join("none")).unwrap_err().contains("none`: "));
        std::fs::write(&path, "").unwrap();
        assert!(file(&path).unwrap().clusters.is_empty());
    }
}
