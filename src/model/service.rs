//! The services of a Qovery environment, as far as the tool has to do with them: which ServiceAccount they ask for.

use std::fmt;

use super::{
    names::{ServiceAccountName, name},
    qovery::QoveryId,
    variable::ObservedVariable,
};

name!(
    /// A service as the manifest names it: by its name in the environment, or by its id. Qovery ignores the case of both.
    ServiceRef,
    "a service",
    "use the name or the id of an application, container, job or Terraform service of the environment",
    |text| (1..=255).contains(&text.chars().count()) && text.trim() == text && !text.chars().any(char::is_control)
);

impl ServiceRef {
    /// Whether this service is meant.
    #[must_use]
    pub fn means(&self, service: &Service) -> bool {
        self.0.eq_ignore_ascii_case(service.id.as_str()) || is_same_name(&self.0, &service.name)
    }
}

/// Whether two names are one for Qovery, which ignores their case. A letter that only becomes an ASCII one in lower case, as the Kelvin
/// sign a `k`, is another: somebody may have named a thing to be taken for it.
#[must_use]
pub fn is_same_name(one: &str, other: &str) -> bool {
    let folded = |name: &str| {
        let mut folded = String::with_capacity(name.len());
        for character in name.chars() {
            let mut lower = character.to_lowercase();
            if character.is_ascii() || !lower.clone().any(|lower| lower.is_ascii()) {
                folded.extend(&mut lower);
            } else {
                folded.push(character);
            }
        }
        folded
    };
    folded(one) == folded(other)
}

/// A service of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its id.
    pub id: QoveryId,
    /// Its name in the environment.
    pub name: String,
    /// What it is.
    pub kind: ServiceKind,
}

/// As messages name it: ``application `api` ``.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// What a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// An application, built from Git.
    Application,
    /// A container image.
    Container,
    /// A lifecycle job or a cron job.
    Job,
    /// A Terraform service: pods that run Terraform or its like.
    Terraform,
    /// One that has no setting for a ServiceAccount: a database, a Helm chart, an Argo CD application, in Qovery's word for it.
    Other(String),
}

impl ServiceKind {
    /// Reads Qovery's `service_type`.
    #[must_use]
    pub fn of(service_type: &str) -> Self {
        match service_type {
            "APPLICATION" => Self::Application,
            "CONTAINER" => Self::Container,
            "JOB" => Self::Job,
            "TERRAFORM" => Self::Terraform,
            other => Self::Other(other.to_lowercase().replace('_', " ")),
        }
    }

    /// Whether its pods can run with a ServiceAccount of the user's choice.
    /// <https://www.qovery.com/docs/configuration/service-advanced-settings>
    #[must_use]
    pub fn can_be_bound(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Application => "application",
            Self::Container => "container",
            Self::Job => "job",
            Self::Terraform => "Terraform service",
            Self::Other(kind) => kind,
        })
    }
}

/// A service that should run with a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// The service as the manifest names it.
    pub service: ServiceRef,
    /// The ServiceAccount it should ask for.
    pub service_account: ServiceAccountName,
    /// Whether it may be taken from another ServiceAccount.
    pub take_over: bool,
}

/// A service as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedService {
    /// The service.
    pub service: Service,
    /// Its advanced setting `security.service_account_name`, if it has one; looked up only for services that are to be bound.
    pub service_account: Option<String>,
    /// The variables that it has and inherits, or why they cannot be seen; looked up only for services that are to be bound.
    pub variables: Option<Result<Vec<ObservedVariable>, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1a2b3c4d-0000-4000-8000-00000000000a";

    #[test]
    fn a_service_is_meant_by_name_or_id_whatever_the_case() {
        let service = Service { id: ID.parse().unwrap(), name: "Api".to_owned(), kind: ServiceKind::of("APPLICATION") };
        for (text, meant) in [
            ("api", true),
            ("a\u{440}i", false),
            ("API", true),
            ("1A2B3C4D-0000-4000-8000-00000000000A", true),
            ("ap", false),
            ("worker", false),
        ] {
            assert_eq!(text.parse::<ServiceRef>().unwrap().means(&service), meant, "{text}");
        }
        assert_eq!(service.to_string(), "application `Api`");
    }

    #[test]
    fn a_letter_that_only_becomes_another_in_lower_case_is_not_that_letter() {
        let service = Service { name: "\u{212a}afka".to_owned(), id: ID.parse().unwrap(), kind: ServiceKind::Job };
        assert!(!"kafka".parse::<ServiceRef>().unwrap().means(&service));
        assert!("\u{212a}AFKA".parse::<ServiceRef>().unwrap().means(&service));
        let service = Service { name: "Étoile".to_owned(), ..service };
        assert!("étoile".parse::<ServiceRef>().unwrap().means(&service));
    }

    #[test]
    fn what_could_leave_the_path_of_a_url_is_no_id_and_what_hides_no_name() {
        for text in [
            "",
            "1a2b3c4d",
            "../../../../../../../../../../../../..",
            "1a2b3c4d-0000-4000-8000-00000000000/",
            "1a2b3c4d_0000-4000-8000-000000000000",
        ] {
            assert!(text.parse::<QoveryId>().is_err(), "{text:?}");
        }
        for text in ["", " api", "api ", "a\nb", "a\u{0}"] {
            assert!(text.parse::<ServiceRef>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_kind_that_is_not_known_is_called_by_its_name() {
        assert_eq!(ServiceKind::of("ARGOCD_APP").to_string(), "argocd app");
    }

    #[test]
    fn four_kinds_can_be_bound_and_no_other() {
        for kind in ["APPLICATION", "CONTAINER", "JOB", "TERRAFORM"] {
            assert!(ServiceKind::of(kind).can_be_bound(), "{kind}");
        }
        for kind in ["DATABASE", "HELM", "ARGOCD_APP", "AGENTIC_WORKFLOW", "A_KIND_OF_TOMORROW"] {
            assert!(!ServiceKind::of(kind).can_be_bound(), "{kind}");
        }
    }
}
