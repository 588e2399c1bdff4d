//! Whom a role trusts: the subjects of one environment, whoever is registered, or whoever matches a pattern.
//!
//! The tool's statements are always rendered from that alone. Foreign statements stay.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        anchor::{Anchor, Grant, StatementKind},
        arn::ClusterArn,
        association::SessionTags,
        desired::{DesiredRole, DesiredTrust},
        explain::{perimeters, perimeters_of_pattern},
        gather::Gather as _,
        names::{RoleName, Subject},
        observed::{Limits, ObservedRole},
        oidc::{Audience, IssuerUrl, Provider},
        registry::{self, Entry, PodsEntry, projection},
        subjects::SubjectPattern,
        trust::{TrustPolicy, Trusted},
    },
    plan::{Action, Refusal, SubjectChange, action::Means},
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
pub(super) fn kind(trust: &DesiredTrust) -> StatementKind {
    match trust {
        DesiredTrust::Environment { .. } | DesiredTrust::Registry { .. } => StatementKind::Subjects,
        DesiredTrust::Patterns(trusted) => trusted.kind,
    }
}

impl Trust {
    /// The trust policy, the registry tags and the notes of a role that is to be created.
    pub(super) fn create(desired: &DesiredRole, limits: &Limits) -> Result<NewTrust, Refusal> {
        let name = &desired.arn.name;
        let (trusted, tags) = match &desired.trust {
            DesiredTrust::Environment { subjects, grant } => (under(grant, subjects), BTreeMap::new()),
            DesiredTrust::Registry { issuer, entries, .. } => {
                short_enough(name, entries)?;
                (projection(entries), tags_of(entries, issuer))
            }
            DesiredTrust::Patterns(trusted) => (trusted.clone(), pods_tags(&desired.anchor, trusted)),
        };
        let trust = TrustPolicy::new(&desired.anchor, &trusted);
        small_enough(name, &trust, &desired.anchor, limits, None)?;
        Ok(NewTrust { policy: trust, tags, notes: patterns_in_words(name, &desired.trust) })
    }

    pub(super) fn start(desired: &DesiredRole, observed: &ObservedRole, limits: &Limits) -> Result<Self, Refusal> {
        let (name, anchor) = (&desired.arn.name, &desired.anchor);
        let mut trust =
            Self { tags: BTreeMap::new(), keys: BTreeSet::new(), update: None, in_two_steps: None, notes: Vec::new(), gone: None };
        let trusted = match &desired.trust {
            DesiredTrust::Environment { subjects, grant } => {
                let before = observed.trust.own_subjects(anchor, StatementKind::Subjects);
                let is_in = |subject: &Subject| before.contains(&subject.into());
                let needed: Vec<&Subject> = subjects
                    .iter()
                    .filter(|subject| is_in(subject) || !observed.trust.foreign_trusts(anchor, &grant.audience, subject))
                    .collect();
                for subject in &needed {
                    // Who asks for conditions has decided.
                    if grant.conditions.is_empty() {
                        let perimeters = perimeters(&observed.trust, anchor, &grant.audience, subject);
                        trust.notes.extend(keep_perimeters(name, &subject.to_string(), perimeters, !is_in(subject))?);
                    }
                }
                under(grant, needed)
            }
            DesiredTrust::Registry { issuer, entries, declarers, .. } => {
                trust.register(desired, (issuer, entries, declarers), observed, limits)?
            }
            DesiredTrust::Patterns(trusted) => {
                trust.notes = patterns_in_words(name, &desired.trust);
                let before = observed.trust.own_subjects(anchor, trusted.kind);
                for (grant, patterns) in trusted.subjects.iter().filter(|(grant, _)| grant.conditions.is_empty()) {
                    for pattern in patterns {
                        let perimeters = perimeters_of_pattern(&observed.trust, anchor, &grant.audience, pattern);
                        trust.notes.extend(keep_perimeters(name, pattern.as_str(), perimeters, !covered(pattern, &before))?);
                    }
                }
                let own: BTreeSet<&SubjectPattern> = trusted.all().collect();
                let others = observed.trust.patterns(anchor).into_iter();
                let others = others.filter(|pattern| !own.contains(pattern) && !before.contains(pattern));
                trust.notes.extend(others.map(|pattern| {
                    format!(
                        "role `{name}`: its trust policy also lets in `{pattern}`, which the manifest of another project declares, kept"
                    )
                }));
                let tags = pods_tags(anchor, trusted);
                let known = PodsEntry::all(&observed.tags).into_iter().filter(|entry| anchor_of(entry).is_like(anchor));
                let known: BTreeMap<_, _> = known.flat_map(|entry| entry.tags()).collect();
                trust.keys = known.into_keys().filter(|key| !tags.contains_key(key)).collect();
                trust.tags = tags.into_iter().filter(|(key, value)| observed.tags.get(key) != Some(value)).gather();
                trusted.clone()
            }
        };
        trust.notes.extend(lost(observed, anchor).into_iter().map(|(cluster, _)| {
            let cluster = cluster.as_str();
            format!("role `{name}`: its trust policy lacks the statement for EKS Pod Identity in cluster `{cluster}`, which a tag asks for: put back")
        }));
        trust.update = update(name, observed, anchor, &trusted);
        if is_trusted_otherwise(&observed.trust, anchor) {
            let means = if matches!(anchor, Anchor::Oidc(_)) { Means::Irsa } else { Means::PodIdentity };
            trust.update = trust.update.map(|update| by(update, means));
        }
        trust.in_two_steps = trust.update.as_ref().and_then(|update| in_two_steps(update, name, observed, anchor, &trusted));
        if let Some(Action::UpdateTrust { trust: policy, .. }) = &trust.update {
            small_enough(name, policy, anchor, limits, trust.gone.as_ref())?;
        }
        Ok(trust)
    }

    /// Each environment writes its own tags, and only those; what is trusted is a projection of all.
    fn register(
        &mut self,
        desired: &DesiredRole,
        (issuer, wanted, declarers): (&IssuerUrl, &BTreeSet<Entry>, &BTreeSet<Subject>),
        observed: &ObservedRole,
        limits: &Limits,
    ) -> Result<Trusted, Refusal> {
        let (name, anchor) = (&desired.arn.name, &desired.anchor);
        let registered = registry::entries(&observed.tags, issuer);
        let foreign = |entry: &&Entry| observed.trust.foreign_trusts(anchor, &entry.audience, &entry.subject);
        let new: BTreeSet<Entry> = wanted.difference(&registered).filter(|entry| !foreign(entry)).cloned().collect();
        short_enough(name, &new)?;
        for entry in wanted {
            let joins = new.contains(entry);
            if entry.conditions.is_empty() && (joins || registered.contains(entry)) {
                let perimeters = perimeters(&observed.trust, anchor, &entry.audience, &entry.subject);
                self.notes.extend(keep_perimeters(name, &entry.subject.to_string(), perimeters, joins)?);
            }
        }
        let stale: BTreeSet<Entry> =
            registered.iter().filter(|entry| declarers.contains(&entry.declared_by) && !wanted.contains(entry)).cloned().collect();
        let after: BTreeSet<Entry> = registered.union(&new).filter(|entry| !stale.contains(entry)).cloned().collect();
        self.tags = tags_of(&new, issuer);
        self.keys = tags_of(&stale, issuer).into_keys().collect();
        self.gone = gone(&registered, limits);
        let mut trusted = projection(&after);
        let known: BTreeSet<Entry> = registered.union(&after).cloned().collect();
        let unread = keep_unread(&mut trusted, observed, anchor, &known);
        let backed: BTreeSet<SubjectPattern> = projection(&known).subjects.into_values().flatten().chain(unread).collect();
        let own = observed.trust.own_subjects(anchor, StatementKind::Subjects);
        let unbacked = own.difference(&backed);
        self.notes
            .extend(unbacked.map(|subject| format!("role `{name}`: `{subject}` stands in the tool's statement but in no tag, removed")));
        let patterns = observed.trust.patterns(anchor).into_iter();
        self.notes.extend(patterns.map(|pattern| {
            format!(
                "role `{name}`: a statement of scope `cluster` still lets in `{pattern}`, kept: remove it by hand if no environment uses it"
            )
        }));
        self.notes.extend(unread_in_words(name, observed));
        Ok(trusted)
    }

    /// Removes what this environment registered, and with it its subjects.
    pub(super) fn delete(desired: &DesiredRole, observed: &ObservedRole) -> Vec<Action> {
        let DesiredTrust::Registry { issuer, declarers, .. } = &desired.trust else { return Vec::new() };
        let (own, others): (BTreeSet<Entry>, BTreeSet<Entry>) =
            registry::entries(&observed.tags, issuer).into_iter().partition(|entry| declarers.contains(&entry.declared_by));
        unregister(desired, observed, issuer, &own, &others)
    }

    /// The actions on the registry, in order: whoever reads the tags next sees them before the trust policy follows.
    pub(super) fn registration(&self, role: &RoleName) -> Vec<Action> {
        let tag = (!self.tags.is_empty()).then(|| Action::TagRole { role: role.clone(), tags: self.tags.clone() });
        let untag = (!self.keys.is_empty()).then(|| Action::UntagRole { role: role.clone(), keys: self.keys.clone() });
        tag.into_iter().chain(untag).collect()
    }

    /// Whether the new trust policy lets in anybody whom the one before did not, by name or by pattern.
    pub(super) fn widens(&self, before: &BTreeSet<SubjectPattern>) -> bool {
        matches!(&self.update, Some(Action::UpdateTrust { subjects, .. }) if subjects.loosened || subjects.added.iter().any(|subject| !covered(subject, before)))
    }
}

/// Removes entries from a registry, and renders the trust policy from the others.
pub(in crate::plan) fn unregister(
    desired: &DesiredRole,
    observed: &ObservedRole,
    issuer: &IssuerUrl,
    gone: &BTreeSet<Entry>,
    others: &BTreeSet<Entry>,
) -> Vec<Action> {
    let (role, anchor) = (&desired.arn.name, &desired.anchor);
    let untag = (!gone.is_empty()).then(|| Action::UntagRole { role: role.clone(), keys: tags_of(gone, issuer).into_keys().collect() });
    let mut trusted = projection(others);
    keep_unread(&mut trusted, observed, anchor, &gone.union(others).cloned().collect());
    untag.into_iter().chain(update(role, observed, anchor, &trusted)).collect()
}

/// Where a tag of the registry is of a form that this version does not know, a newer one has written it: the subjects that no known tag
/// backs may be its, and stay. Which they are.
fn keep_unread(trusted: &mut Trusted, observed: &ObservedRole, anchor: &Anchor, known: &BTreeSet<Entry>) -> BTreeSet<SubjectPattern> {
    if registry::unknown(&observed.tags).is_empty() {
        return BTreeSet::new();
    }
    let backed = projection(known);
    let mut kept = BTreeSet::new();
    for (grant, subjects) in observed.trust.own_trusted(anchor, StatementKind::Subjects).subjects {
        for subject in subjects.into_iter().filter(|subject| !backed.subjects.get(&grant).is_some_and(|backed| backed.contains(subject))) {
            kept.insert(subject.clone());
            trusted.add(&grant, subject);
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

pub(super) fn update(role: &RoleName, observed: &ObservedRole, anchor: &Anchor, trusted: &Trusted) -> Option<Action> {
    // Somebody who saw the past may have dropped them: tags merge, documents do not.
    let put_back = |trust: TrustPolicy, (cluster, lost)| trust.rendered(&Anchor::PodIdentity(cluster, SessionTags::Off), &lost);
    let whole = lost(observed, anchor).into_iter().fold(observed.trust.clone(), put_back);
    let trust = whole.rendered(anchor, trusted);
    if trust.means_the_same(&observed.trust) {
        return None;
    }
    let own = |policy: &TrustPolicy| policy.own_subjects(anchor, trusted.kind);
    let (before, after) = (observed.trust.own_trusted(anchor, trusted.kind), trust.own_trusted(anchor, trusted.kind));
    let subjects = SubjectChange::between(&own(&observed.trust), &own(&trust)).with_grants(&before, &after);
    Some(Action::UpdateTrust { role: role.clone(), trust, subjects })
}

/// The tags that say that associations give the role to pods of the cluster, so that whoever writes the document for IRSA knows.
fn pods_tags(anchor: &Anchor, trusted: &Trusted) -> BTreeMap<String, String> {
    let Anchor::PodIdentity(cluster, _) = anchor else { return BTreeMap::new() };
    if trusted.kind != StatementKind::Subjects {
        return BTreeMap::new();
    }
    let entry = |grant: &Grant| PodsEntry { cluster: cluster.clone(), conditions: grant.conditions.clone() };
    trusted.subjects.keys().map(entry).flat_map(|entry| entry.tags()).collect()
}

/// What an entry stands for.
fn anchor_of(entry: &PodsEntry) -> Anchor {
    Anchor::PodIdentity(entry.cluster.clone(), SessionTags::Off)
}

/// The statements for EKS Pod Identity that tags ask for and the document lacks; without those of this anchor, which are rendered anyhow.
fn lost(observed: &ObservedRole, anchor: &Anchor) -> Vec<(ClusterArn, Trusted)> {
    let mut asked: BTreeMap<ClusterArn, Trusted> = BTreeMap::new();
    for entry in PodsEntry::all(&observed.tags).into_iter().filter(|entry| !anchor_of(entry).is_like(anchor)) {
        let grant = Grant { audience: Audience::of_pod_identity(), conditions: entry.conditions };
        let trusted = asked.entry(entry.cluster).or_insert_with(|| Trusted::nobody(StatementKind::Subjects));
        trusted.add(&grant, SubjectPattern::everybody());
    }
    let is_lost = |(cluster, trusted): &(ClusterArn, Trusted)| {
        observed.trust.own_trusted(&Anchor::PodIdentity(cluster.clone(), SessionTags::Off), trusted.kind) != *trusted
    };
    asked.into_iter().filter(is_lost).collect()
}

/// Takes away the tool's statements for these anchors, one after the other.
pub(super) fn without(role: &RoleName, observed: &ObservedRole, anchors: &[Anchor]) -> Option<Action> {
    let nobody = Trusted::nobody(StatementKind::Subjects);
    let trust = anchors.iter().fold(observed.trust.clone(), |trust, anchor| trust.rendered(anchor, &nobody));
    let subjects = |trust: &TrustPolicy| anchors.iter().flat_map(|anchor| trust.own_subjects(anchor, nobody.kind)).gather();
    let subjects = SubjectChange::between(&subjects(&observed.trust), &subjects(&trust));
    (!trust.means_the_same(&observed.trust)).then(|| Action::UpdateTrust { role: role.clone(), trust, subjects })
}

/// Takes from a role, which pods now get by EKS Pod Identity, what let these ServiceAccounts in by IRSA.
///
/// | whose role | outcome |
/// |---|---|
/// | one environment's | the statement goes |
/// | many environments' | the entries of these go, and the statement says what the others say |
/// | every environment's that matches a pattern | the statement stays: others of the project may need it |
///
/// Of a role of many environments the statement is rendered from all entries each time, also where nobody leaves: whoever joins by EKS Pod
/// Identity writes the whole document, and may have seen one of the past.
pub(in crate::plan) fn leave_irsa(
    desired: &DesiredRole,
    observed: &ObservedRole,
    provider: &Provider,
    left: &BTreeSet<Subject>,
) -> Vec<Action> {
    let anchor = Anchor::Oidc(provider.clone());
    let actions = match &desired.trust {
        DesiredTrust::Environment { .. } => {
            without(&desired.arn.name, observed, &[anchor]).filter(|_| !left.is_empty()).into_iter().collect()
        }
        DesiredTrust::Patterns(trusted) if trusted.kind == StatementKind::Subjects => {
            let (own, others) =
                registry::entries(&observed.tags, &provider.issuer).into_iter().partition(|entry| left.contains(&entry.declared_by));
            let role = DesiredRole { anchor, ..desired.clone() };
            unregister(&role, observed, &provider.issuer, &own, &others)
        }
        DesiredTrust::Patterns(_) | DesiredTrust::Registry { .. } => Vec::new(),
    };
    actions.into_iter().map(|action| by(action, Means::Irsa)).collect()
}

/// Whom this shuts out.
pub(in crate::plan) fn shut_out(
    desired: &DesiredRole,
    observed: &ObservedRole,
    provider: &Provider,
    left: &BTreeSet<Subject>,
) -> BTreeSet<SubjectPattern> {
    match &desired.trust {
        DesiredTrust::Environment { .. } => observed.trust.own_subjects(&Anchor::Oidc(provider.clone()), StatementKind::Subjects),
        DesiredTrust::Patterns(trusted) if trusted.kind == StatementKind::Subjects => {
            let (own, others): (Vec<Entry>, Vec<Entry>) =
                registry::entries(&observed.tags, &provider.issuer).into_iter().partition(|entry| left.contains(&entry.declared_by));
            let stays = |entry: &&Entry| others.iter().any(|other| other.subject == entry.subject);
            own.iter().filter(|entry| !stays(entry)).map(|entry| SubjectPattern::from(&entry.subject)).gather()
        }
        DesiredTrust::Patterns(_) | DesiredTrust::Registry { .. } => BTreeSet::new(),
    }
}

/// What people should know of patterns that let pods in by IRSA, on a role that they now get by EKS Pod Identity.
pub(in crate::plan) fn kept_patterns(desired: &DesiredRole, observed: &ObservedRole, provider: &Provider) -> Vec<String> {
    let name = &desired.arn.name;
    let patterns = observed.trust.patterns(&Anchor::Oidc(provider.clone())).into_iter();
    let note = |pattern| {
        format!("role `{name}`: its trust policy still lets in `{pattern}` by IRSA, kept: remove it by hand if no environment uses it")
    };
    patterns.map(note).collect()
}

/// Takes from one environment's role what let EKS assume it for pods. Of others it stays: other environments may rely on it.
pub(in crate::plan) fn leave_pod_identity(desired: &DesiredRole, observed: &ObservedRole) -> Option<Action> {
    let anchors = if desired.trust.is_of_many() { Vec::new() } else { observed.trust.pod_identity_anchors() };
    without(&desired.arn.name, observed, &anchors).map(|action| by(action, Means::PodIdentity))
}

/// The same, where it says by which binding subjects come and go: they have the role by the other too.
fn by(mut action: Action, means: Means) -> Action {
    if let Action::UpdateTrust { subjects, .. } = &mut action {
        subjects.by = Some(means);
    }
    action
}

/// Takes away all patterns of a cluster, whichever project has declared them.
pub(super) fn without_patterns(desired: &DesiredRole, observed: &ObservedRole) -> Option<Action> {
    let trust = observed.trust.without_patterns(&desired.anchor);
    let subjects = SubjectChange::between(&observed.trust.patterns(&desired.anchor), &BTreeSet::new());
    (trust != observed.trust).then(|| Action::UpdateTrust { role: desired.arn.name.clone(), trust, subjects })
}

/// Whether a statement of the tool's for the other binding is in it.
fn is_trusted_otherwise(trust: &TrustPolicy, anchor: &Anchor) -> bool {
    trust.other_clusters(anchor).into_iter().any(|cluster| cluster.starts_with("arn:") == matches!(anchor, Anchor::Oidc(_)))
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

fn under<'a>(grant: &Grant, subjects: impl IntoIterator<Item = &'a Subject>) -> Trusted {
    let mut trusted = Trusted::nobody(StatementKind::Subjects);
    subjects.into_iter().for_each(|subject| trusted.add(grant, subject.into()));
    trusted
}

fn covered(subject: &SubjectPattern, before: &BTreeSet<SubjectPattern>) -> bool {
    before.iter().any(|pattern| pattern.covers(subject))
}

/// The same in two steps, if it both adds and removes: what stands before and after, then all.
fn in_two_steps(update: &Action, role: &RoleName, observed: &ObservedRole, anchor: &Anchor, trusted: &Trusted) -> Option<[Action; 2]> {
    let Action::UpdateTrust { trust, .. } = update else { return None };
    let before = observed.trust.own_subjects(anchor, trusted.kind);
    let after = trust.own_subjects(anchor, trusted.kind);
    if before.is_subset(&after) || after.iter().all(|subject| covered(subject, &before)) {
        return None;
    }
    let mut staying = trusted.clone();
    staying.subjects.values_mut().for_each(|subjects| subjects.retain(|subject| covered(subject, &before)));
    let narrowed = observed.trust.rendered(anchor, &staying);
    let between = narrowed.own_subjects(anchor, trusted.kind);
    let step = |trust: TrustPolicy, from: &BTreeSet<SubjectPattern>, to: &BTreeSet<SubjectPattern>| Action::UpdateTrust {
        role: role.clone(),
        trust,
        subjects: SubjectChange::between(from, to),
    };
    Some([step(narrowed, &before, &between), step(trust.clone(), &between, &after)])
}

fn tags_of(entries: &BTreeSet<Entry>, issuer: &IssuerUrl) -> BTreeMap<String, String> {
    entries.iter().flat_map(|entry| entry.tags(issuer)).collect()
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
    anchor: &Anchor,
    limits: &Limits,
    gone: Option<&BTreeSet<String>>,
) -> Result<(), Refusal> {
    let length = trust.minified().chars().count();
    let quota = limits.trust_policy.unwrap_or(SMALLEST_QUOTA);
    if length <= quota {
        return Ok(());
    }
    // Each subject stands in quotes, with a comma after it.
    let subjects = trust.own_subjects(anchor, StatementKind::Subjects);
    let of_subjects: usize = subjects.iter().map(|subject| subject.as_str().len() + 3).sum();
    let each = of_subjects.checked_div(subjects.len()).unwrap_or(1).max(1);
    let fits = quota.saturating_sub(length.saturating_sub(of_subjects)) / each;
    Err(Refusal::TrustTooLarge { role: role.clone(), length, quota, subjects: subjects.len(), fits, gone: gone.cloned() })
}

/// The namespaces for which somebody is registered and that no longer exist.
fn gone(registered: &BTreeSet<Entry>, limits: &Limits) -> Option<BTreeSet<String>> {
    let exist = limits.namespaces.as_ref()?;
    let declaring = registered.iter().map(|entry| &entry.declared_by.namespace);
    Some(declaring.filter(|namespace| !exist.contains(namespace)).map(ToString::to_string).gather())
}

/// Who may assume a role whose trust is a pattern.
fn patterns_in_words(role: &RoleName, trust: &DesiredTrust) -> Vec<String> {
    let DesiredTrust::Patterns(trusted) = trust else { return Vec::new() };
    let words = trusted.all().filter_map(SubjectPattern::parts).map(|(namespace, account)| {
        if (namespace, account) == ("*", "*") {
            return format!("role `{role}` may be assumed by every pod of the cluster that an association gives it to");
        }
        let whose = match namespace.strip_suffix('*') {
            Some(prefix) if !prefix.contains(['*', '?']) => format!("in every namespace that begins with `{prefix}`"),
            _ if namespace.contains(['*', '?']) => format!("in every namespace that matches `{namespace}`"),
            _ => format!("in namespace `{namespace}`"),
        };
        format!("role `{role}` may be assumed by the pods of every ServiceAccount `{account}` {whose}")
    });
    words.collect()
}
