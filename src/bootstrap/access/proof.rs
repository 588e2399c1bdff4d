//! The proof that the guard holds: as the group, by dry runs, what must be refused is refused by the guard, and what a run does is not.

use super::{
    BootstrapError, Gate,
    force::{Answer, GUARD, PROBE},
};
use crate::{
    clients::kubernetes::Impersonated,
    model::bootstrap::{ACCESS_GROUP, ObjectKind, ObjectRef},
    report::Report,
};

/// An audience that the API server takes: with such a token the group would be the ServiceAccount.
/// <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>
const OF_API_SERVER: &str = "https://kubernetes.default.svc";

/// What is asked, and what must be the answer.
enum Question {
    /// A token for an audience.
    Token(ObjectRef),
    /// A ServiceAccount with a role.
    Account(ObjectRef, String),
}

impl Gate<'_> {
    /// Says what was refused, by whom. Where nothing could be asked, it says that.
    ///
    /// # Errors
    /// The guard lets through what it must not, or not what it must; or the API server does not answer.
    pub(super) async fn prove(&self, report: &mut Report<'_>) -> Result<(), BootstrapError> {
        let user = self.user();
        let who = Impersonated { user: &user, group: ACCESS_GROUP };
        let (mut failures, mut is_asked) = (Vec::new(), true);
        for (what, question, is_refused) in self.questions() {
            let answer = match &question {
                Question::Token(at) => self.asked(&what, async || self.kubernetes.token_as(who, at, OF_API_SERVER).await).await?,
                Question::Account(at, role) => self.asked(&what, async || self.kubernetes.rehearse_as(who, at, role).await).await?,
            };
            match (answer, is_refused) {
                (Answer::NotAsked(said), _) => {
                    report.note(&format!("not proven: that the guard holds, since these credentials may not ask as the group: {said}"));
                    is_asked = false;
                    break;
                }
                (Answer::ByGuard, true) => {
                    report.guarded(&format!("group `{ACCESS_GROUP}` is refused {what}, by ValidatingAdmissionPolicy `{GUARD}`"));
                }
                (Answer::Allowed, false) => report.guarded(&format!("group `{ACCESS_GROUP}` is allowed {what}")),
                (Answer::ByOther(said), _) => {
                    report.note(&format!("not proven: whether the guard decides about {what}, since something else refuses first: {said}"));
                }
                (Answer::Allowed, true) => failures.push(format!("group `{ACCESS_GROUP}` is allowed {what}: the guard must refuse it")),
                (Answer::NoRight, _) => failures.push(format!(
                    "group `{ACCESS_GROUP}` has no right to ask for {what}: the rights of `ClusterRole` `{GUARD}` are not in force"
                )),
                (Answer::ByGuard, false) => {
                    failures.push(format!("group `{ACCESS_GROUP}` is refused {what} by the guard, which must allow it"));
                }
            }
        }
        if is_asked && self.elsewhere().is_none() {
            report
                .note("not proven: that other namespaces are closed, since the namespaces of this zone are all that could be asked about");
        }
        if failures.is_empty() { Ok(()) } else { Err(BootstrapError::NotGuarded(failures)) }
    }

    fn questions(&self) -> Vec<(String, Question, bool)> {
        let subject = &self.desired.subject;
        let account =
            |name: &str| ObjectRef { kind: ObjectKind::ServiceAccount, namespace: Some(subject.namespace.clone()), name: name.to_owned() };
        let owner = &self.desired.role.role.account;
        let (path, cluster) = (&self.desired.role.path, &self.desired.role.cluster);
        let outside = format!("arn:{}:iam::{}:role/{PROBE}", owner.partition, owner.id);
        let below = format!("arn:{}:iam::{}:role{path}{cluster}/{PROBE}", owner.partition, owner.id);
        let mut questions = vec![
            (
                format!("a token of ServiceAccount `{subject}` for audience `{OF_API_SERVER}`"),
                Question::Token(account(subject.service_account.as_str())),
                true,
            ),
            (format!("a ServiceAccount with role `{outside}`, outside `{path}`"), Question::Account(account(PROBE), outside), true),
        ];
        if let Some(at) = self.elsewhere() {
            let namespace = at.namespace.as_ref().map(ToString::to_string).unwrap_or_default();
            questions.push((format!("a ServiceAccount in namespace `{namespace}`"), Question::Account(at, below.clone()), true));
        }
        questions.push((
            format!("a ServiceAccount in namespace `{}` with a role below `{path}`", subject.namespace),
            Question::Account(account(PROBE), below),
            false,
        ));
        questions
    }
}
