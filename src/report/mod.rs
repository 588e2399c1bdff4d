//! What one sees: lines for people, or one JSON document for machines with the lines on standard error.

pub mod check;
pub mod exit;

use std::{
    cell::RefCell,
    error::Error,
    io::{IsTerminal as _, Write},
    path::Path,
    rc::Rc,
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};

use self::{
    check::{Check, State},
    exit::{DONE, FAILED},
};
use crate::{
    clients::call::{Patience, Spent, Took},
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

/// A run that takes longer says where its time went.
const LONG: Duration = Duration::from_secs(5);

/// The report of one run.
pub struct Report<'a> {
    format: Format,
    sinks: Rc<RefCell<Sinks<'a>>>,
    /// Whether what is broken is red: only for a person at a terminal who has not said no.
    colours: bool,
    /// Whether what was printed speaks for itself.
    silent: bool,
    /// Whether nothing that was examined is broken: what keeps it from being healthy then could not be seen.
    unseen: bool,
    document: Document,
}

/// Where lines go, and the clock of the run: what reports and what looks at the clock have in common.
struct Sinks<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    patience: Option<Patience>,
}

impl Sinks<'_> {
    fn line(&mut self, format: Format, line: &str) {
        let sink = match format {
            Format::Text => &mut *self.out,
            Format::Json => &mut *self.err,
        };
        // Nobody listens any more: no reason to stop half-way.
        let _ = writeln!(sink, "{line}");
        let _ = sink.flush();
    }
}

/// Says what a run waits for, while it waits.
pub struct Ticker<'a> {
    format: Format,
    sinks: Rc<RefCell<Sinks<'a>>>,
}

impl Ticker<'_> {
    /// Does the work to its end, and says meanwhile what it waits for.
    pub async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(TICK) => self.tick(),
            }
        }
    }

    fn tick(&self) {
        let mut sinks = self.sinks.borrow_mut();
        if let Some(progress) = sinks.patience.as_ref().and_then(Patience::progress) {
            sinks.line(self.format, &bounded(&progress, LONGEST_LINE));
        }
    }
}

const TICK: Duration = Duration::from_secs(1);

/// The JSON document.
#[derive(Debug, Default, Serialize)]
struct Document {
    command: String,
    outcome: &'static str,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<String>,
    plan: Vec<Step>,
    applied: Vec<Done>,
    proven: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    examined: Vec<Value>,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Outputs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Value>,
}

/// An action: the call, and the line that people read.
#[derive(Clone, Debug, Serialize)]
struct Step {
    call: &'static str,
    action: String,
}

impl Step {
    fn of(action: &impl Call) -> Self {
        Self { call: action.call(), action: action.to_string() }
    }
}

/// An action that was done.
#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    step: Step,
    seconds: f64,
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
            silent: false,
            unseen: true,
            document: Document { command: command.to_owned(), ..Document::default() },
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
        self.silent = true;
    }

    /// Where the run takes place; said once.
    pub fn place(&mut self, namespace: &str, issuer: &str, account: &str) {
        let place = json!({ "namespace": namespace, "issuer": issuer, "account": account });
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

    /// The plan, before it is applied; a second one takes the place of what the first has left.
    pub fn plan(&mut self, plan: &Plan) {
        for note in plan.notes.iter().chain(&plan.kept) {
            self.note(note);
        }
        self.planned(plan.actions());
    }

    /// Actions, before they are carried out.
    pub fn planned<'p>(&mut self, actions: impl IntoIterator<Item = &'p (impl Call + 'p)>) {
        let steps: Vec<Step> = actions.into_iter().map(Step::of).collect();
        if !steps.is_empty() {
            self.line(&format!("plan: {}", counted(steps.len(), "action")));
            for step in &steps {
                self.line(&format!("  {}", step.action));
            }
        }
        let done = self.document.applied.iter().map(|done| done.step.clone());
        self.document.plan = done.chain(steps).collect();
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
        self.document.applied.push(Done { step: Step::of(action), seconds: rounded(took) });
    }

    /// How many actions were done.
    #[must_use]
    pub fn applied_count(&self) -> usize {
        self.document.applied.len()
    }

    /// A proof: STS gave the role for a token of the ServiceAccount.
    pub fn proven(&mut self, subject: &Subject, role: &RoleArn, session: u32) {
        self.line(&format!(
            "proven: pods of ServiceAccount `{subject}` get role `{role}`, sessions up to {} h",
            f64::from(session) / 3600.0
        ));
        self.document
            .proven
            .push(json!({ "service_account": subject.to_string(), "role": role.to_string(), "max_session_seconds": session }));
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
        self.unseen &= checks.iter().all(|check| check.state != State::Broken);
        self.document.examined.push(json!({ "service_account": subject.to_string(), "checks": checks }));
    }

    /// The outputs that were written.
    pub fn outputs(&mut self, outputs: Outputs) {
        self.document.outputs = Some(outputs);
    }

    /// The last line, or the error; in JSON the document. Returns the exit code.
    #[must_use]
    pub fn finish(mut self, result: Result<(u8, String), Failure>, took: Duration, termination_log: &Path) -> u8 {
        let spent = self.sinks.borrow().patience.as_ref().map(Patience::spent);
        let time = spent.as_ref().filter(|_| took >= LONG).map(|spent| time_line(spent, took));
        self.document.time = spent.as_ref().map(time_document);
        let exit_code = match result {
            Ok((exit_code, last_line)) => {
                self.document.outcome = match (exit_code, self.applied_count()) {
                    (DONE, 0) if self.document.command == "doctor" => "healthy",
                    (FAILED, _) if self.unseen => "unknown",
                    (FAILED, _) => "broken",
                    (DONE, 0) if self.document.plan.is_empty() => "nothing to do",
                    // A dry run.
                    (DONE, 0) => "to do",
                    (DONE, _) => "done",
                    _ => "to do",
                };
                if let Some(time) = time {
                    self.line(&time);
                }
                if !self.silent {
                    self.line(&format!("{last_line}, {}", shown(took)));
                }
                exit_code
            }
            Err(error) => {
                self.document.outcome = error.outcome;
                let text = self.error_text(&error.errors, time);
                let mut sinks = self.sinks.borrow_mut();
                let _ = sinks.err.write_all(text.as_bytes());
                let _ = sinks.err.flush();
                write_termination_log(termination_log, &text);
                self.document.error = Some(json!({ "errors": error.errors }));
                error.exit_code
            }
        };
        self.document.exit_code = exit_code;
        self.document.seconds = rounded(took);
        if self.format == Format::Json && !self.silent {
            let document = serde_json::to_string_pretty(&self.document).unwrap_or_default();
            let mut sinks = self.sinks.borrow_mut();
            let _ = writeln!(sinks.out, "{document}");
            let _ = sinks.out.flush();
        }
        exit_code
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

/// Why a run failed, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code of the process.
    pub exit_code: u8,
    /// One word for machines.
    pub outcome: &'static str,
    /// The errors, at least one.
    pub errors: Vec<Described>,
}

/// An error, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Described {
    /// What failed.
    pub message: String,
    /// What it comes from, outermost first.
    pub causes: Vec<String>,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What an error comes from, outermost first, each once.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !causes.contains(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}

/// Kubernetes shows this file's text as the reason why the pod ended. It takes 4,096 bytes of it.
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
fn write_termination_log(path: &Path, text: &str) {
    let end = (0..=text.len().min(4096)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).truncate(true).open(path) {
        let _ = file.write_all(&text.as_bytes()[..end]);
    }
}

/// The calls that took most of the time.
fn time_line(spent: &Spent, took: Duration) -> String {
    let whole = |call: &Took| call.calling + call.pausing;
    let mut calls: Vec<(&str, Took)> = spent.calls.iter().map(|(name, call)| (*name, *call)).collect();
    calls.retain(|(_, call)| whole(call) >= took / 20);
    calls.sort_by_key(|(_, call)| std::cmp::Reverse(whole(call)));
    let calls = calls.iter().take(5).map(|(name, call)| match call.attempts {
        1 => format!("{name} {}", shown(call.calling)),
        attempts => format!("{name} {} in {attempts} attempts and {} between them", shown(call.calling), shown(call.pausing)),
    });
    let waiting = (spent.waiting >= took / 20).then(|| format!("{} waiting for what was done to show", shown(spent.waiting)));
    let parts: Vec<String> = calls.chain(waiting).collect();
    format!("time: {}, of it {}", shown(took), if parts.is_empty() { "nothing in long calls".to_owned() } else { parts.join("; ") })
}

fn time_document(spent: &Spent) -> Value {
    let calls = spent.calls.iter().map(|(name, call)| {
        let (calling, pausing) = (rounded(call.calling), rounded(call.pausing));
        ((*name).to_owned(), json!({ "attempts": call.attempts, "calling_seconds": calling, "pausing_seconds": pausing }))
    });
    json!({ "calls": calls.collect::<serde_json::Map<_, _>>(), "waiting_seconds": rounded(spent.waiting) })
}

fn shown(took: Duration) -> String {
    if took < Duration::from_secs(1) { format!("{} ms", took.as_millis()) } else { format!("{:.1} s", took.as_secs_f64()) }
}

fn rounded(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}
