//! What a ServiceAccount records of its roles: the one that an association gives its pods, and those that it had before or is about to have.
//! Each is recorded until it is left, so that a run that ends between two roles, and a manifest that changes before the next one, lose none.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{arn::RoleArn, date::Date};

/// The annotation of a ServiceAccount that records them.
pub const EARLIER_ROLES: &str = "qovery-irsa/earlier-roles";

/// The annotation of a ServiceAccount that records the role of its association. The webhook of EKS does not read it: it is for a removal,
/// which knows by it without the manifest that there are a role and an association.
pub const ASSOCIATED_ROLE: &str = "qovery-irsa/associated-role";

/// Roles, and since when the ServiceAccount has each only in this record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierRoles(BTreeMap<String, (RoleArn, Date)>);

impl EarlierRoles {
    /// Reads the annotation: ARN and date in turn, with white space between. What is neither is passed over.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut roles = Self::default();
        let mut words = text.split_whitespace();
        while let (Some(arn), Some(date)) = (words.next(), words.next()) {
            if let (Ok(arn), Ok(date)) = (arn.parse::<RoleArn>(), date.parse()) {
                roles.add(&arn, date);
            }
        }
        roles
    }

    /// The annotation's value; nothing if nothing is recorded.
    #[must_use]
    pub fn render(&self) -> Option<String> {
        let mut text = String::new();
        for (arn, (_, date)) in &self.0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{arn} {date}", if text.is_empty() { "" } else { " " });
        }
        (!text.is_empty()).then_some(text)
    }

    /// Records a role, unless it is recorded already: then the earlier date stays.
    pub fn add(&mut self, role: &RoleArn, since: Date) {
        self.0.entry(role.to_string()).or_insert_with(|| (role.clone(), since));
    }

    /// Drops a role: the ServiceAccount has it again, or has left it.
    pub fn remove(&mut self, role: &RoleArn) {
        self.0.remove(&role.to_string());
    }

    /// The roles, each with its date.
    pub fn iter(&self) -> impl Iterator<Item = (&RoleArn, Date)> {
        self.0.values().map(|(role, date)| (role, *date))
    }

    /// Whether this role is recorded.
    #[must_use]
    pub fn contains(&self, role: &RoleArn) -> bool {
        self.0.contains_key(&role.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_is_written_whatever_stands_in_a_path() {
        let (one, other): (RoleArn, RoleArn) =
            ("arn:aws:iam::123456789012:role/a=,b/one".parse().unwrap(), "arn:aws:iam::123456789012:role/other".parse().unwrap());
        let (early, late): (Date, Date) = ("2026-11-26T08.30.00Z".parse().unwrap(), "2026-11-27T08.30.00Z".parse().unwrap());
        let mut roles = EarlierRoles::default();
        assert_eq!(roles.render(), None);
        roles.add(&one, early);
        roles.add(&other, late);
        roles.add(&one, late);
        let read = EarlierRoles::read(&roles.render().unwrap());
        assert_eq!(read, roles);
        assert_eq!(read.iter().map(|(_, date)| date).collect::<Vec<_>>(), [early, late], "the earlier date stays");
        roles.remove(&one);
        assert!(!roles.contains(&one) && roles.contains(&other));
    }

    #[test]
    fn what_is_no_record_is_none() {
        for text in ["", "arn:aws:iam::123456789012:role/x", "x 2026-11-26T08.30.00Z", "arn:aws:iam::123456789012:role/x soon"] {
            assert_eq!(EarlierRoles::read(text), EarlierRoles::default(), "{text}");
        }
    }
}
