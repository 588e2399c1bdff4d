//! What one sees: lines for people, or one JSON document for machines with the lines on standard error.

pub mod check;
mod document;
pub mod exit;
mod failure;
mod sinks;
mod time;

use std::{
    cell::RefCell,
    io::{IsTerminal as _, Write},
    path::Path,
    rc::Rc,
    time::Duration,
};

pub use failure::{Described, Failure, causes};
pub use sinks::Ticker;

use self::{
    check::{Check, State},
    document::{Done, Errors, Examined, PlannedAction, Proven, RunDocument, Where},
    exit::{End, Exit},
    sinks::Sinks,
    time::{LONG, Times, rounded, shown},
};
use crate::{
    clients::call::Patience,
    config::Format,
    model::{
        arn::RoleArn,
        job::ObservedEnvironment,
        line::{LONGEST_LINE, bounded, counted},
        names::Subject,
        output::Outputs,
    },
    plan::{Call, Plan},
};

/// The report of one run.
pub struct Report<'a> {
    format: Format,
    sinks: Rc<RefCell<Sinks<'a>>>,
    /// Whether what is broken is red: only for a person at a terminal who has not said no.
    colours: bool,
    document: RunDocument,
}

impl<'a> Report<'a> {
    /// A report of `command`.
    pub fn new(command: &str, format: Format, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        let colours =
            format == Format::Text && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            format,
            sinks: Rc::new(RefCell::new(Sinks { out, err, patience: None })),
            colours,
            document: RunDocument { command: command.to_owned(), ..RunDocument::default() },
        }
    }

    /// The clock of the run, which knows where its time goes.
    pub fn clock(&mut self, patience: &Patience) {
        self.sinks.borrow_mut().patience = Some(patience.clone());
    }

    /// What says meanwhile what the run waits for.
    #[must_use]
    pub fn ticker(&self) -> Ticker<'a> {
        Ticker { format: self.format, sinks: Rc::clone(&self.sinks) }
    }

    /// A line for people: one, whatever stands in it.
    pub fn line(&mut self, text: &str) {
        self.marked_line("", text);
    }

    /// A line with a mark before it, in colour perhaps.
    fn marked_line(&mut self, mark: &str, text: &str) {
        self.sinks.borrow_mut().line(self.format, &format!("{mark}{}", bounded(text, LONGEST_LINE)));
    }

    /// What was asked for to be printed: nothing else stands on standard output then.
    pub fn printed(&mut self, text: &str) {
        let mut sinks = self.sinks.borrow_mut();
        let _ = sinks.out.write_all(text.as_bytes());
        let _ = sinks.out.flush();
    }

    /// Where the run takes place; said once.
    pub fn place(&mut self, namespace: &str, issuer: &str, account: &str) {
        let place = Where { namespace: namespace.to_owned(), issuer: issuer.to_owned(), account: account.to_owned() };
        if self.document.place.as_ref() != Some(&place) {
            self.line(&format!("namespace `{namespace}`, issuer `{issuer}`, AWS account {account}"));
            self.document.place = Some(place);
        }
    }

    /// The environment of Qovery that a job is installed in, and where people see it; said once.
    pub fn environment(&mut self, environment: &ObservedEnvironment) {
        if self.document.console.is_none() {
            let ObservedEnvironment { id, name, organization, project, .. } = environment;
            let console = format!("https://console.qovery.com/organization/{organization}/project/{project}/environment/{id}");
            self.line(&format!("environment `{name}`: {console}"));
            self.document.console = Some(console);
        }
    }

    /// The cluster whose trust zone is made, and its issuer; said once.
    pub fn zone(&mut self, cluster: &str, issuer: &str) {
        self.line(&format!("EKS cluster `{cluster}`, issuer `{issuer}`"));
    }

    /// What the person does next.
    pub fn next(&mut self, command: &str) {
        self.line(&format!("next: {command}"));
        self.document.next = Some(command.to_owned());
    }

    /// Where people see the environment in Qovery, if that is known.
    #[must_use]
    pub fn console(&self) -> Option<&str> {
        self.document.console.as_deref()
    }

    /// The plan, before it is applied; a second one takes the place of what the first has left.
    pub fn plan(&mut self, plan: &Plan) {
        for note in plan.notes.iter().chain(&plan.kept) {
            self.note(note);
        }
        self.planned(plan.actions());
    }

    /// Actions, before they are carried out.
    pub fn planned<'p>(&mut self, actions: impl IntoIterator<Item = &'p (impl Call + 'p)>) {
        let steps: Vec<PlannedAction> = actions.into_iter().map(PlannedAction::of).collect();
        if !steps.is_empty() {
            self.line(&format!("plan: {}", counted(steps.len(), "action")));
            for step in &steps {
                self.line(&format!("  {}", step.action));
                for detail in &step.details {
                    self.line(&format!("    {detail}"));
                }
            }
        }
        let done = self.document.applied.iter().map(|done| done.step.clone());
        self.document.plan = done.chain(steps).collect();
    }

    /// Actions of a dry run, after those of its other parts.
    pub fn previewed<'p>(&mut self, actions: impl IntoIterator<Item = &'p (impl Call + 'p)>) {
        let before = std::mem::take(&mut self.document.plan);
        self.planned(actions);
        self.document.plan.splice(0..0, before);
    }

    /// What the guard of the cluster was seen to refuse or allow.
    pub fn guarded(&mut self, seen: &str) {
        self.line(&format!("proven: {seen}"));
        self.document.guarded.push(seen.to_owned());
    }

    /// Something that was seen and left alone; each is said once.
    pub fn note(&mut self, note: &str) {
        if !self.document.notes.iter().any(|said| said == note) {
            self.line(&format!("note: {note}"));
            self.document.notes.push(note.to_owned());
        }
    }

    /// What a removal could not take away: people must look at it. Each is said once.
    pub fn left(&mut self, left: &str) {
        if !self.document.left.iter().any(|said| said == left) {
            self.line(&format!("left: {left}"));
            self.document.left.push(left.to_owned());
        }
    }

    /// An action that was done.
    pub fn did(&mut self, action: &impl Call, took: Duration) {
        self.line(&format!("done: {action} ({})", shown(took)));
        self.document.applied.push(Done { step: PlannedAction::of(action), seconds: rounded(took) });
    }

    /// How many actions were done.
    #[must_use]
    pub fn applied_count(&self) -> usize {
        self.document.applied.len()
    }

    /// How many actions are planned, those that were done among them.
    #[must_use]
    pub fn planned_count(&self) -> usize {
        self.document.plan.len()
    }

    /// A proof: STS gave the role for a token of the ServiceAccount.
    pub fn proven(&mut self, subject: &Subject, role: &RoleArn, session: u32) {
        self.line(&format!(
            "proven: pods of ServiceAccount `{subject}` get role `{role}`, sessions up to {} h",
            f64::from(session) / 3600.0
        ));
        let (service_account, role) = (subject.to_string(), role.to_string());
        self.document.proven.push(Proven { service_account, role, max_session_seconds: session });
    }

    /// What an examination has found.
    pub fn examined(&mut self, subject: &Subject, checks: &[Check]) {
        self.line(&format!("ServiceAccount `{subject}`"));
        for check in checks {
            let (mark, colour) = match check.state {
                State::Ok => ("ok", "32"),
                State::Broken => ("BROKEN", "31"),
                State::Unknown => ("unknown", "33"),
                State::Note => ("note", "33"),
            };
            let mark = if self.colours { format!("\x1b[{colour}m{mark:<7}\x1b[0m") } else { format!("{mark:<7}") };
            self.marked_line(&format!("  {mark} "), &format!("{}: {}", check.link, check.evidence));
            if let Some(remedy) = &check.remedy {
                self.line(&format!("          → {remedy}"));
            }
        }
        self.document.examined.push(Examined { service_account: subject.to_string(), checks: checks.to_vec() });
    }

    /// The outputs that were written.
    pub fn outputs(&mut self, outputs: Outputs) {
        self.document.outputs = Some(outputs);
    }

    /// The last line, or the error; in JSON the document. Returns how the process ends.
    #[must_use]
    pub fn finish(mut self, result: Result<End, Failure>, took: Duration, termination_log: &Path) -> Exit {
        let spent = self.sinks.borrow().patience.as_ref().map(Patience::spent);
        let time = spent.as_ref().filter(|_| took >= LONG).map(|spent| time::line(spent, took));
        self.document.time = spent.as_ref().map(Times::from);
        let (exit, shows_document) = match result {
            Ok(End { exit, line: None }) => (exit, false),
            Ok(End { exit, line: Some(line) }) => {
                if let Some(time) = time {
                    self.line(&time);
                }
                self.line(&format!("{line}, {}", shown(took)));
                (exit, true)
            }
            Err(Failure { exit, errors }) => {
                let text = self.error_text(&errors, time);
                let mut sinks = self.sinks.borrow_mut();
                let _ = sinks.err.write_all(text.as_bytes());
                let _ = sinks.err.flush();
                write_termination_log(termination_log, &text);
                self.document.error = Some(Errors { errors });
                (exit, true)
            }
        };
        self.document.outcome = exit.outcome();
        self.document.exit_code = exit.code();
        self.document.seconds = rounded(took);
        if self.format == Format::Json && shows_document {
            let document = serde_json::to_string_pretty(&self.document).unwrap_or_default();
            let mut sinks = self.sinks.borrow_mut();
            let _ = writeln!(sinks.out, "{document}");
            let _ = sinks.out.flush();
        }
        exit
    }

    fn applied_before(&self) -> Option<String> {
        let planned = self.document.plan.len();
        let done: Vec<String> = self.document.applied.iter().map(|done| done.step.action.clone()).collect();
        match (planned, done.len()) {
            (0, _) => None,
            (planned, 0) => Some(format!("applied before this: none of {}", counted(planned, "action"))),
            (planned, count) => Some(format!("applied before this: {count} of {} ({})", counted(planned, "action"), done.join("; "))),
        }
    }

    fn error_text(&self, errors: &[Described], time: Option<String>) -> String {
        let mut lines = Vec::new();
        let mut hints: Vec<&str> = Vec::new();
        for Described { message, causes, hint } in errors {
            // Problems, refusals and what is left to do have a line each.
            lines.extend(format!("error: {message}").lines().map(str::to_owned));
            lines.extend(causes.iter().map(|cause| format!("  caused by: {cause}")));
            // What helps several errors is said once, beside the first.
            if let Some(hint) = hint.as_deref().filter(|hint| !hints.contains(hint)) {
                lines.extend(format!("hint: {hint}").lines().map(str::to_owned));
                hints.push(hint);
            }
        }
        lines.extend(self.applied_before());
        lines.extend(time);
        let lines: Vec<String> = lines.iter().map(|line| bounded(line, LONGEST_LINE)).collect();
        format!("{}\n", lines.join("\n"))
    }
}

/// Kubernetes shows this file's text as the reason why the pod ended. It takes 4,096 bytes of it.
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
fn write_termination_log(path: &Path, text: &str) {
    let end = (0..=text.len().min(4096)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).truncate(true).open(path) {
        let _ = file.write_all(&text.as_bytes()[..end]);
    }
}
