//! Whom a role trusts: the subjects of one environment, whoever is registered, or whoever matches a pattern.
//!
//! The tool's statements are always rendered from that alone. Foreign statements stay.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        conditions::Conditions,
        desired::{DesiredRole, DesiredTrust},
        document::pattern_matches,
        explain::{perimeters, perimeters_of_pattern},
        names::{RoleName, Subject},
        observed::{Limits, ObservedRole},
        oidc::{Audience, Provider},
        registry::{self, Entry, projection},
        token::Claims,
        trust::{Grant, Kind, TrustPolicy, Trusted},
    },
    plan::{Action, Refusal, SubjectChange},
};

/// How large every account lets a trust policy be, in characters without white space; the real quota may be larger.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const SMALLEST_QUOTA: usize = 2048;

/// What to do about the trust of a role that exists.
pub(super) struct Trust {
    /// Registry tags to set.
    pub(super) tags: BTreeMap<String, String>,
    /// Registry tags to remove.
    keys: BTreeSet<String>,
    /// The trust policy, if it differs.
    pub(super) update: Option<Action>,
    /// Where it lets in somebody new and keeps out others: first only the latter, then the rest.
    pub(super) in_two_steps: Option<[Action; 2]>,
    pub(super) notes: Vec<String>,
    /// Registered namespaces that no longer exist, if that was looked up.
    pub(super) gone: Option<BTreeSet<String>>,
}

/// The trust of a role that is to be created.
pub(super) struct NewTrust {
    pub(super) policy: TrustPolicy,
    /// Registry tags.
    pub(super) tags: BTreeMap<String, String>,
    pub(super) notes: Vec<String>,
}

/// Which kind of statement says so.
pub(super) fn kind(trust: &DesiredTrust) -> Kind {
    match trust {
        DesiredTrust::Environment { .. } | DesiredTrust::Registry { .. } => Kind::Subjects,
        DesiredTrust::Patterns(trusted) => trusted.kind,
    }
}

impl Trust {
    /// The trust policy, the registry tags and the notes of a role that is to be created.
    pub(super) fn create(desired: &DesiredRole, provider: &Provider, limits: &Limits) -> Result<NewTrust, Refusal> {
        let name = &desired.arn.name;
        let (trusted, tags) = match &desired.trust {
            DesiredTrust::Environment { audience, subjects, conditions } => (under(audience, conditions, subjects), BTreeMap::new()),
            DesiredTrust::Registry { entries, .. } => {
                short_enough(name, entries)?;
                (projection(entries), tags_of(entries, provider))
            }
            DesiredTrust::Patterns(trusted) => (trusted.clone(), BTreeMap::new()),
        };
        let trust = TrustPolicy::new(provider, &trusted);
        small_enough(name, &trust, provider, limits, None)?;
        Ok(NewTrust { policy: trust, tags, notes: patterns_in_words(name, &desired.trust) })
    }

    pub(super) fn start(desired: &DesiredRole, observed: &ObservedRole, provider: &Provider, limits: &Limits) -> Result<Self, Refusal> {
        let name = &desired.arn.name;
        let mut trust =
            Self { tags: BTreeMap::new(), keys: BTreeSet::new(), update: None, in_two_steps: None, notes: Vec::new(), gone: None };
        let trusted = match &desired.trust {
            DesiredTrust::Environment { audience, subjects, conditions } => {
                let before = observed.trust.own_claims(provider, Kind::Subjects);
                let needed: Vec<&Subject> = subjects
                    .iter()
                    .filter(|subject| before.contains(&subject.claim()) || !observed.trust.foreign_trusts(provider, audience, subject))
                    .collect();
                for subject in &needed {
                    let joins = !before.contains(&subject.claim());
                    // Who asks for conditions has decided.
                    if conditions.is_empty() {
                        trust.notes.extend(keep_perimeters(
                            name,
                            &subject.to_string(),
                            around(observed, provider, audience, subject),
                            joins,
                        )?);
                    }
                }
                under(audience, conditions, needed)
            }
            DesiredTrust::Registry { entries, declarers, .. } => trust.register(entries, declarers, observed, provider, limits, name)?,
            DesiredTrust::Patterns(trusted) => {
                trust.notes = patterns_in_words(name, &desired.trust);
                let before = observed.trust.own_claims(provider, trusted.kind);
                for (grant, claims) in trusted.claims.iter().filter(|(grant, _)| grant.conditions.is_empty()) {
                    for pattern in claims {
                        let perimeters = perimeters_of_pattern(&observed.trust, provider, &grant.audience, pattern);
                        trust.notes.extend(keep_perimeters(name, pattern, perimeters, !covered(pattern, &before))?);
                    }
                }
                let own: BTreeSet<&String> = trusted.claims.values().flatten().collect();
                let others = observed
                    .trust
                    .patterns(provider)
                    .into_iter()
                    .filter(|pattern| !own.contains(pattern) && !observed.trust.own_claims(provider, trusted.kind).contains(pattern));
                trust.notes.extend(others.map(|pattern| {
                    format!(
                        "role `{name}`: its trust policy also lets in `{pattern}`, which the manifest of another project declares, kept"
                    )
                }));
                trusted.clone()
            }
        };
        trust.update = update(name, observed, provider, &trusted);
        trust.in_two_steps = trust.update.as_ref().and_then(|update| in_two_steps(update, name, observed, provider, &trusted));
        if let Some(Action::UpdateTrust { trust: policy, .. }) = &trust.update {
            small_enough(name, policy, provider, limits, trust.gone.as_ref())?;
        }
        Ok(trust)
    }

    /// Each environment writes its own tags, and only those; what is trusted is a projection of all.
    fn register(
        &mut self,
        wanted: &BTreeSet<Entry>,
        declarers: &BTreeSet<Subject>,
        observed: &ObservedRole,
        provider: &Provider,
        limits: &Limits,
        name: &RoleName,
    ) -> Result<Trusted, Refusal> {
        let registered = registry::entries(&observed.tags, &provider.issuer);
        let foreign = |entry: &&Entry| observed.trust.foreign_trusts(provider, &entry.audience, &entry.subject);
        let new: BTreeSet<Entry> = wanted.difference(&registered).filter(|entry| !foreign(entry)).cloned().collect();
        short_enough(name, &new)?;
        for entry in wanted {
            let joins = new.contains(entry);
            if entry.conditions.is_empty() && (joins || registered.contains(entry)) {
                self.notes.extend(keep_perimeters(
                    name,
                    &entry.subject.to_string(),
                    around(observed, provider, &entry.audience, &entry.subject),
                    joins,
                )?);
            }
        }
        let stale: BTreeSet<Entry> =
            registered.iter().filter(|entry| declarers.contains(&entry.declared_by) && !wanted.contains(entry)).cloned().collect();
        let after: BTreeSet<Entry> = registered.union(&new).filter(|entry| !stale.contains(entry)).cloned().collect();
        self.tags = tags_of(&new, provider);
        self.keys = tags_of(&stale, provider).into_keys().collect();
        self.gone = gone(&registered, limits);
        let mut trusted = projection(&after);
        let known: BTreeSet<Entry> = registered.union(&after).cloned().collect();
        let unread = keep_unread(&mut trusted, observed, provider, &known);
        let backed: BTreeSet<String> = projection(&known).claims.into_values().flatten().chain(unread).collect();
        let unbacked = observed.trust.own_claims(provider, Kind::Subjects).into_iter().filter(|claim| !backed.contains(claim));
        self.notes.extend(unbacked.map(|claim| format!("role `{name}`: `{claim}` stands in the tool's statement but in no tag, removed")));
        let patterns = observed.trust.patterns(provider).into_iter();
        self.notes.extend(patterns.map(|pattern| {
            format!(
                "role `{name}`: a statement of scope `cluster` still lets in `{pattern}`, kept: remove it by hand if no environment uses it"
            )
        }));
        self.notes.extend(unread_in_words(name, observed));
        Ok(trusted)
    }

    /// Removes what this environment registered, and with it its subjects.
    pub(super) fn delete(desired: &DesiredRole, observed: &ObservedRole, provider: &Provider) -> Vec<Action> {
        let DesiredTrust::Registry { declarers, .. } = &desired.trust else { return Vec::new() };
        let (own, others): (BTreeSet<Entry>, BTreeSet<Entry>) =
            registry::entries(&observed.tags, &provider.issuer).into_iter().partition(|entry| declarers.contains(&entry.declared_by));
        unregister(&desired.arn.name, observed, provider, &own, &others)
    }

    /// The actions on the registry, in order: whoever reads the tags next sees them before the trust policy follows.
    pub(super) fn registration(&self, role: &RoleName) -> Vec<Action> {
        let tag = (!self.tags.is_empty()).then(|| Action::TagRole { role: role.clone(), tags: self.tags.clone() });
        let untag = (!self.keys.is_empty()).then(|| Action::UntagRole { role: role.clone(), keys: self.keys.clone() });
        tag.into_iter().chain(untag).collect()
    }

    /// Whether the new trust policy lets in anybody whom the one before did not, by name or by pattern.
    pub(super) fn widens(&self, before: &BTreeSet<String>) -> bool {
        matches!(&self.update, Some(Action::UpdateTrust { subjects, .. }) if subjects.loosened || subjects.added.iter().any(|claim| !covered(claim, before)))
    }
}

/// Removes entries from a registry, and renders the trust policy from the others.
pub(in crate::plan) fn unregister(
    role: &RoleName,
    observed: &ObservedRole,
    provider: &Provider,
    gone: &BTreeSet<Entry>,
    others: &BTreeSet<Entry>,
) -> Vec<Action> {
    let untag = (!gone.is_empty()).then(|| Action::UntagRole { role: role.clone(), keys: tags_of(gone, provider).into_keys().collect() });
    let mut trusted = projection(others);
    keep_unread(&mut trusted, observed, provider, &gone.union(others).cloned().collect());
    untag.into_iter().chain(update(role, observed, provider, &trusted)).collect()
}

/// Where a tag of the registry is of a form that this version does not know, a newer one has written it: the subjects that no known tag
/// backs may be its, and stay. Which they are.
fn keep_unread(trusted: &mut Trusted, observed: &ObservedRole, provider: &Provider, known: &BTreeSet<Entry>) -> BTreeSet<String> {
    if registry::unknown(&observed.tags).is_empty() {
        return BTreeSet::new();
    }
    let backed = projection(known);
    let mut kept = BTreeSet::new();
    for (grant, claims) in observed.trust.own_trusted(provider, Kind::Subjects).claims {
        for claim in claims.into_iter().filter(|claim| !backed.claims.get(&grant).is_some_and(|backed| backed.contains(claim))) {
            kept.insert(claim.clone());
            trusted.add_under(&grant, claim);
        }
    }
    kept
}

/// The tags of a newer form.
pub(super) fn unread_in_words(role: &RoleName, observed: &ObservedRole) -> Vec<String> {
    let unknown = registry::unknown(&observed.tags).into_iter();
    unknown
        .map(|(key, value)| {
            format!("role `{role}`: tag `{key}` with value `{value}` is of unknown form, perhaps of a newer version of this tool: kept, with the subjects that no other tag explains")
        })
        .collect()
}

pub(super) fn update(role: &RoleName, observed: &ObservedRole, provider: &Provider, trusted: &Trusted) -> Option<Action> {
    let trust = observed.trust.rendered(provider, trusted);
    if trust.means_the_same(&observed.trust) {
        return None;
    }
    let claims = |policy: &TrustPolicy| policy.own_claims(provider, trusted.kind);
    let (before, after) = (observed.trust.own_trusted(provider, trusted.kind), trust.own_trusted(provider, trusted.kind));
    let subjects = SubjectChange::between(&claims(&observed.trust), &claims(&trust)).with_grants(&before, &after);
    Some(Action::UpdateTrust { role: role.clone(), trust, subjects })
}

/// Takes away all patterns of an issuer, whichever project has declared them.
pub(super) fn without_patterns(role: &RoleName, observed: &ObservedRole, provider: &Provider) -> Option<Action> {
    let trust = observed.trust.without_patterns(provider);
    let subjects = SubjectChange::between(&observed.trust.patterns(provider), &BTreeSet::new());
    (trust != observed.trust).then(|| Action::UpdateTrust { role: role.clone(), trust, subjects })
}

/// Whoever is about to be let in must not be let in under less than a statement of somebody else's asks for. What stands already is said.
fn keep_perimeters(role: &RoleName, whom: &str, perimeters: Vec<(String, Vec<String>)>, joins: bool) -> Result<Vec<String>, Refusal> {
    let mut notes = Vec::new();
    for (statement, asks) in perimeters {
        let asks = asks.join(", ");
        if joins {
            return Err(Refusal::Perimeter { role: role.clone(), whom: whom.to_owned(), statement, asks });
        }
        notes.push(format!(
            "role `{role}`: {statement} of its trust policy lets in `{whom}` only under {asks}, the tool's own statement without"
        ));
    }
    Ok(notes)
}

/// The perimeters around one subject.
fn around(observed: &ObservedRole, provider: &Provider, audience: &Audience, subject: &Subject) -> Vec<(String, Vec<String>)> {
    perimeters(&observed.trust, provider, &Claims::of_subject(&provider.issuer, audience, subject))
}

fn under<'a>(audience: &Audience, conditions: &Conditions, subjects: impl IntoIterator<Item = &'a Subject>) -> Trusted {
    let grant = Grant { audience: audience.clone(), conditions: conditions.clone() };
    let mut trusted = Trusted::nobody(Kind::Subjects);
    subjects.into_iter().for_each(|subject| trusted.add_under(&grant, subject.claim()));
    trusted
}

fn covered(claim: &str, before: &BTreeSet<String>) -> bool {
    before.iter().any(|pattern| pattern_matches(pattern, claim))
}

/// The same in two steps, if it both adds and removes: what stands before and after, then all.
fn in_two_steps(update: &Action, role: &RoleName, observed: &ObservedRole, provider: &Provider, trusted: &Trusted) -> Option<[Action; 2]> {
    let Action::UpdateTrust { trust, .. } = update else { return None };
    let before = observed.trust.own_claims(provider, trusted.kind);
    let after = trust.own_claims(provider, trusted.kind);
    if before.is_subset(&after) || after.iter().all(|claim| covered(claim, &before)) {
        return None;
    }
    let mut staying = trusted.clone();
    staying.claims.values_mut().for_each(|claims| claims.retain(|claim| covered(claim, &before)));
    let narrowed = observed.trust.rendered(provider, &staying);
    let between = narrowed.own_claims(provider, trusted.kind);
    let step = |trust: TrustPolicy, from: &BTreeSet<String>, to: &BTreeSet<String>| Action::UpdateTrust {
        role: role.clone(),
        trust,
        subjects: SubjectChange::between(from, to),
    };
    Some([step(narrowed, &before, &between), step(trust.clone(), &between, &after)])
}

fn tags_of(entries: &BTreeSet<Entry>, provider: &Provider) -> BTreeMap<String, String> {
    entries.iter().flat_map(|entry| entry.tags(&provider.issuer)).collect()
}

fn short_enough(role: &RoleName, entries: &BTreeSet<Entry>) -> Result<(), Refusal> {
    match entries.iter().find(|entry| !entry.fits_a_tag()) {
        Some(long) => Err(Refusal::LongSubject { role: role.clone(), subject: long.subject.clone() }),
        None => Ok(()),
    }
}

fn small_enough(
    role: &RoleName,
    trust: &TrustPolicy,
    provider: &Provider,
    limits: &Limits,
    gone: Option<&BTreeSet<String>>,
) -> Result<(), Refusal> {
    let length = trust.minified().chars().count();
    let quota = limits.trust_policy.unwrap_or(SMALLEST_QUOTA);
    if length <= quota {
        return Ok(());
    }
    // Each subject stands in quotes, with a comma after it.
    let claims = trust.own_claims(provider, Kind::Subjects);
    let of_claims: usize = claims.iter().map(|claim| claim.len() + 3).sum();
    let each = of_claims.checked_div(claims.len()).unwrap_or(1).max(1);
    let fits = quota.saturating_sub(length.saturating_sub(of_claims)) / each;
    Err(Refusal::TrustTooLarge { role: role.clone(), length, quota, subjects: claims.len(), fits, gone: gone.cloned() })
}

/// The namespaces for which somebody is registered and that no longer exist.
fn gone(registered: &BTreeSet<Entry>, limits: &Limits) -> Option<BTreeSet<String>> {
    let exist = limits.namespaces.as_ref()?;
    let declaring = registered.iter().map(|entry| &entry.declared_by.namespace);
    Some(declaring.filter(|namespace| !exist.contains(namespace)).map(ToString::to_string).collect())
}

/// Who may assume a role whose trust is a pattern.
fn patterns_in_words(role: &RoleName, trust: &DesiredTrust) -> Vec<String> {
    let DesiredTrust::Patterns(trusted) = trust else { return Vec::new() };
    let words = trusted.claims.values().flatten().map(|claim| {
        let (namespace, account) = claim.trim_start_matches("system:serviceaccount:").split_once(':').unwrap_or_default();
        let whose = match namespace.strip_suffix('*') {
            Some(prefix) if !prefix.contains(['*', '?']) => format!("in every namespace that begins with `{prefix}`"),
            _ if namespace.contains(['*', '?']) => format!("in every namespace that matches `{namespace}`"),
            _ => format!("in namespace `{namespace}`"),
        };
        format!("role `{role}` may be assumed by the pods of every ServiceAccount `{account}` {whose}")
    });
    words.collect()
}
