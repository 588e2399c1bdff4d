//! The job: the real binary, as a process with nothing in its environment but what is said here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use crate::failure::{Doing as _, Failure, check};

/// The binary.
#[derive(Clone, Debug)]
pub(crate) struct Job(PathBuf);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) command: String,
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Job {
    /// The file that `QOVERY_IRSA` names, or the one in the target folder that this program was built into.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn find() -> Result<Self, Failure> {
        let named = std::env::var_os("QOVERY_IRSA").filter(|value| !value.is_empty()).map(PathBuf::from);
        let beside = || std::env::current_exe().ok()?.parent().map(|folder| folder.join("qovery-irsa"));
        let path = named.or_else(beside).ok_or_else(|| Failure::new("it is not known where the job is: set `QOVERY_IRSA`"))?;
        check(path.is_file(), || {
            format!("the job `{}` is not there: run `cargo build --bin qovery-irsa`, or set `QOVERY_IRSA` to the file", path.display())
        })?;
        let path = std::path::absolute(&path).doing(|| format!("`{}` is no path", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn spawn(&self, arguments: &[&str], variables: &BTreeMap<String, String>, folder: &Path) -> Result<Running, Failure> {
        let mut command = Command::new(&self.0);
        command.args(arguments).env_clear().envs(variables).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().doing(|| format!("cannot run `{}`", self.0.display()))?;
        Ok(Running { command: arguments.join(" "), child })
    }
}

/// A run that has not ended.
pub(crate) struct Running {
    command: String,
    child: Child,
}

impl Running {
    /// # Errors
    /// Its output cannot be read.
    pub(crate) fn end(self) -> Result<Run, Failure> {
        let Output { status, stdout, stderr } = self.child.wait_with_output().doing(|| format!("cannot wait for `{}`", self.command))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Run { command: self.command, code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) })
    }
}

impl Run {
    /// The run, if it ended so.
    ///
    /// # Errors
    /// It ended otherwise.
    pub(crate) fn ended(self, code: i32) -> Result<Self, Failure> {
        let wanted = format!("exit code {code} was wanted");
        check(self.code == code, || self.told(&wanted))?;
        Ok(self)
    }

    /// That the error, with cause and hint, says this.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn says(&self, text: &str) -> Result<(), Failure> {
        check(self.err.contains(text) || self.out.contains(text), || self.told(&format!("`{text}` was to be said")))
    }

    /// The last line of the report.
    pub(crate) fn last_line(&self) -> &str {
        self.out.lines().last().unwrap_or_default()
    }

    fn told(&self, wanted: &str) -> String {
        let indented = |text: &str| format!("\n{text}").trim_end().replace('\n', "\n    ");
        format!("`{}` ended with {}; {wanted}\n  stdout:{}\n  stderr:{}", self.command, self.code, indented(&self.out), indented(&self.err))
    }

    /// That nothing was to do.
    ///
    /// # Errors
    /// There was.
    pub(crate) fn found_nothing(&self) -> Result<(), Failure> {
        check(self.last_line().starts_with("nothing to do"), || self.told("nothing was to be done"))
    }

    /// The actions that were planned.
    pub(crate) fn planned(&self) -> Vec<&str> {
        self.out.lines().filter_map(|line| line.strip_prefix("  ")).collect()
    }
}
