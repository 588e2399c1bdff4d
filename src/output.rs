//! The job's outputs, as Qovery reads them: each service of the environment sees them as `QOVERY_OUTPUT_JOB_<JOB_ID>_<NAME>`.
//!
//! <https://www.qovery.com/docs/configuration/lifecycle-job>: names are letters, digits and `_`; one bad name and Qovery refuses the
//! whole file; what does not say that it is not sensitive is taken as not sensitive, so each says it.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::Serialize;
use thiserror::Error;

use crate::model::{desired::DesiredServiceAccount, fingerprint::fingerprint};

/// One output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Its value.
    pub value: String,
    /// Whether Qovery hides it.
    pub sensitive: bool,
    /// What it is.
    pub description: String,
}

/// All outputs by name.
pub type Outputs = BTreeMap<String, Output>;

/// Why the outputs were not written.
#[derive(Debug, Error)]
#[error("cannot write the outputs to `{}`", path.display())]
pub struct OutputError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// Role ARN and ServiceAccount name of each identity: plain names if there is one, else with the ServiceAccount's name before them.
#[must_use]
pub fn outputs(service_accounts: &[DesiredServiceAccount]) -> Outputs {
    let accounts: Vec<&str> = service_accounts.iter().map(|wanted| wanted.subject.service_account.as_str()).collect();
    let mut outputs = Outputs::new();
    for (wanted, prefix) in service_accounts.iter().zip(prefixes(&accounts)) {
        let account = wanted.subject.service_account.as_str();
        let output =
            |value: String, what: &str| Output { value, sensitive: false, description: format!("{what} of ServiceAccount {account}") };
        outputs.insert(format!("{prefix}ROLE_ARN"), output(wanted.role.to_string(), "role ARN"));
        outputs.insert(format!("{prefix}SERVICE_ACCOUNT_NAME"), output(account.to_owned(), "name"));
    }
    outputs
}

/// How much of its fingerprint a name may carry to differ from the others; at last all of it.
const FINGERPRINTS: [usize; 4] = [0, 5, 10, 51];

/// What stands before the names of each ServiceAccount's outputs, no two equal: `a-b` and `a.b` are different ServiceAccounts. Where some
/// are equal, those with the least of their fingerprints get more of it: one that was named to equal another with its fingerprint gives way.
fn prefixes(accounts: &[&str]) -> Vec<String> {
    if let [_] = accounts {
        return vec![String::new()];
    }
    let mut lengths = vec![0; accounts.len()];
    loop {
        let of_account = |(account, length): (&&str, &usize)| match FINGERPRINTS[*length] {
            0 => format!("{}_", name(account)),
            length => format!("{}_{}_", name(account), fingerprint(&[account], length).to_uppercase()),
        };
        let prefixes: Vec<String> = accounts.iter().zip(&lengths).map(of_account).collect();
        let mut equal: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (prefix, length) in prefixes.iter().zip(&lengths) {
            equal.entry(prefix).or_default().push(*length);
        }
        let longer = |(prefix, length): (&String, &usize)| match &equal[prefix.as_str()] {
            lengths if lengths.len() > 1 && lengths.iter().min() == Some(length) => (length + 1).min(FINGERPRINTS.len() - 1),
            _ => *length,
        };
        let longer: Vec<usize> = prefixes.iter().zip(&lengths).map(longer).collect();
        if longer == lengths {
            return prefixes;
        }
        lengths = longer;
    }
}

fn name(service_account: &str) -> String {
    let name: String = service_account
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' })
        .collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Writes the outputs: to a temporary name beside the file, then renamed, so that nobody reads half of them.
///
/// False if there is no such directory: the job does not run in Qovery.
///
/// # Errors
/// The file cannot be written.
pub fn write(outputs: &Outputs, path: &Path) -> Result<bool, OutputError> {
    let problem = |source| OutputError { path: path.to_owned(), source };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Ok(false);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = serde_json::to_vec_pretty(outputs).map_err(std::io::Error::from).and_then(|text| {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    written.map(|()| true).map_err(problem)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(outputs: &Outputs) -> BTreeSet<&str> {
        outputs.keys().map(String::as_str).collect()
    }

    fn wanted(name: &str) -> DesiredServiceAccount {
        DesiredServiceAccount {
            subject: format!("z1/{name}").parse().unwrap(),
            role: "arn:aws:iam::123456789012:role/app".parse().unwrap(),
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            automount: None,
        }
    }

    #[test]
    fn one_identity_has_plain_names() {
        assert_eq!(names(&outputs(&[wanted("app")])), BTreeSet::from(["ROLE_ARN", "SERVICE_ACCOUNT_NAME"]));
    }

    #[test]
    fn several_identities_have_names_of_their_own_that_qovery_takes() {
        let all = outputs(&[wanted("my-s3.role"), wanted("my.s3-role"), wanted("9lives"), wanted("worker")]);
        assert_eq!(all.len(), 8);
        assert!(all.contains_key("WORKER_ROLE_ARN") && all.contains_key("_9LIVES_SERVICE_ACCOUNT_NAME"));
        for name in names(&all) {
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name}");
            assert!(!name.starts_with(|first: char| first.is_ascii_digit()), "{name}");
        }
    }

    #[test]
    fn no_name_becomes_that_of_another_even_if_it_was_chosen_to() {
        let fingerprints = ["a-b", "a.b"].map(|account| fingerprint(&[account], 5));
        let mut accounts = vec!["a-b".to_owned(), "a.b".to_owned()];
        accounts.extend(fingerprints.iter().map(|fingerprint| format!("a-b-{fingerprint}")));
        // Two names of one form whose first five characters are equal, found by search.
        accounts.extend(["c.c.c.c.c.c.c.c-c-c-c.c.c.c.c.c.c.c", "c.c.c.c-c.c-c.c.c-c.c-c.c.c.c-c-c.c"].map(str::to_owned));
        let all = outputs(&accounts.iter().map(|account| wanted(account)).collect::<Vec<_>>());
        let told: BTreeSet<&str> = all.values().map(|output| output.value.as_str()).collect();
        assert_eq!(all.len(), 2 * accounts.len());
        assert!(accounts.iter().all(|account| told.contains(account.as_str())), "{told:?}");
        assert!(all.contains_key(&format!("A_B_{}_ROLE_ARN", fingerprints[0].to_uppercase())));
    }

    #[test]
    fn no_directory_is_no_error_and_a_written_file_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let all = outputs(&[wanted("app")]);
        assert!(!write(&all, &directory.path().join("none/qovery-output.json")).unwrap());
        let path = directory.path().join("qovery-output.json");
        assert!(write(&all, &path).unwrap());
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap(), @r#"
        {
          "ROLE_ARN": {
            "value": "arn:aws:iam::123456789012:role/app",
            "sensitive": false,
            "description": "role ARN of ServiceAccount app"
          },
          "SERVICE_ACCOUNT_NAME": {
            "value": "app",
            "sensitive": false,
            "description": "name of ServiceAccount app"
          }
        }
        "#);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
