//! An API server as somebody names it, and whether two names are of one cluster.

use std::collections::BTreeSet;

use super::gather::Gather as _;

/// Where an API server is and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiServer {
    /// The host of its URL, in lower case.
    host: String,
    port: u16,
    /// The name that its certificate is checked for, where that is not the host: a tunnel ends at another address.
    certified: Option<String>,
    /// The certificates of its authority. Empty if the system's are trusted, or none is asked for.
    authority: BTreeSet<Vec<u8>>,
}

/// Whether two are of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// They are.
    Same,
    /// They are not.
    Other,
    /// Only the cluster itself can tell.
    Unknown,
}

impl ApiServer {
    /// A server by host and port, with the name that its certificate is checked for and the certificates of its authority.
    #[must_use]
    pub fn new(host: &str, port: u16, certified: Option<&str>, authority: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let lower = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        Self { host: lower(host), port, certified: certified.map(lower), authority: authority.into_iter().gather() }
    }

    /// Whether this, by which a cluster is reached, is the one that EKS describes.
    ///
    /// | address | authority | likeness |
    /// |---|---|---|
    /// | the same, or its certificate is checked for that host | any | same: the host is one cluster's own |
    /// | another | none in common | other: every EKS cluster has an authority of its own |
    /// | another | the same, or not known | unknown: a tunnel, or a proxy that ends TLS |
    ///
    /// <https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html>
    #[must_use]
    pub fn likeness(&self, described: &Self) -> Likeness {
        let address = (&self.host, self.port) == (&described.host, described.port);
        if address || self.certified.as_ref() == Some(&described.host) {
            return Likeness::Same;
        }
        let known = !self.authority.is_empty() && !described.authority.is_empty();
        if known && self.authority.is_disjoint(&described.authority) { Likeness::Other } else { Likeness::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EKS: &str = "A1.gr7.eu-west-3.eks.amazonaws.com";

    fn server(host: &str, port: u16, certified: Option<&str>, authority: &[&str]) -> ApiServer {
        ApiServer::new(host, port, certified, authority.iter().map(|certificate| certificate.as_bytes().to_vec()))
    }

    #[test]
    fn a_cluster_is_known_by_its_address_and_told_apart_by_its_authority() {
        let described = server(EKS, 443, None, &["one"]);
        for (host, port, certified, authority, expected) in [
            (EKS, 443, None, &["one"] as &[_], Likeness::Same),
            ("a1.GR7.eu-west-3.eks.amazonaws.com.", 443, None, &["one"], Likeness::Same),
            // What opens TLS on the way has an authority of its own, and does not change where it leads.
            (EKS, 443, None, &["corporate"], Likeness::Same),
            ("localhost", 8443, Some(EKS), &["one"], Likeness::Same),
            ("localhost", 8443, None, &["one"], Likeness::Unknown),
            ("localhost", 8443, Some("kubernetes.default.svc"), &["one"], Likeness::Unknown),
            ("gateway.example.com", 443, None, &[], Likeness::Unknown),
            (EKS, 8443, None, &[], Likeness::Unknown),
            ("b2.gr7.eu-west-3.eks.amazonaws.com", 443, None, &["one", "two"], Likeness::Unknown),
            ("b2.gr7.eu-west-3.eks.amazonaws.com", 443, None, &["two"], Likeness::Other),
            ("localhost", 8443, Some("b2.gr7.eu-west-3.eks.amazonaws.com"), &["two"], Likeness::Other),
        ] {
            let reached = server(host, port, certified, authority);
            assert_eq!(reached.likeness(&described), expected, "{reached:?}");
        }
    }
}
