//! The proof of a role by a web identity: STS gives it for a token that was minted for the ServiceAccount, as a pod's is.

use super::prover::{Prover, Question, Refused};
use crate::{
    clients::{
        aws::ASSUME,
        call::{CallError, ErrorKind, Failed},
        kubernetes::TOKEN,
    },
    model::{
        desired::DesiredServiceAccount,
        diagnosis::{Diagnosis, diagnose},
        observed::KnownProvider,
        oidc::Audience,
        token::Claims,
    },
    steps::world::{Look, World},
};

impl<C: World> Prover<'_, C> {
    pub(super) async fn by_web_identity(&self, account: &DesiredServiceAccount, audience: &Audience) -> Result<(), Refused> {
        let (subject, role) = (&account.subject, &account.role);
        let doing = format!("request a token of ServiceAccount `{subject}`");
        let token = self.patience.call(TOKEN, async || self.world.token(subject, audience).await).await;
        let token = token.map_err(Failed::to(doing, TOKEN))?;
        let question = Question {
            doing: format!("assume role `{role}` with a token of ServiceAccount `{subject}`"),
            call: ASSUME,
            waiting: format!("STS to give role `{role}` for a token of ServiceAccount `{subject}`"),
        };
        let ask = async || match self.world.assume(role, &token).await? {
            session if session.is_of(role) => Ok(()),
            session => Err(CallError::new(ErrorKind::Other, "OtherRole", format!("STS gave `{session}`"))),
        };
        self.until_given(account, question, self.patience, ask, async || self.diagnosis_of_token(account, &token).await).await
    }

    async fn diagnosis_of_token(&self, account: &DesiredServiceAccount, token: &str) -> Option<Diagnosis> {
        let claims = Claims::of(token)?;
        let observed = self.world.observe(Look::Wanted, self.identities, self.patience).await.ok()?;
        let KnownProvider::Read(provider) = &observed.provider else { return None };
        Some(diagnose(&claims, &self.desired.provider, provider.as_ref(), observed.roles.get(&account.role.name)))
    }
}
