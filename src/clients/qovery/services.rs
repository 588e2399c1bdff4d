//! The services of the environment, and the advanced setting that names their ServiceAccount.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Qovery, error};
use crate::{
    clients::call::{CallError, ErrorKind},
    model::{
        names::{NameProblem, ServiceAccountName},
        service::{Service, ServiceKind},
    },
};

/// The advanced setting that names a service's ServiceAccount.
/// <https://www.qovery.com/docs/configuration/service-advanced-settings>
const SERVICE_ACCOUNT: &str = "security.service_account_name";

#[derive(Deserialize)]
struct Services {
    results: Vec<ListedService>,
}

#[derive(Deserialize)]
struct ListedService {
    id: String,
    name: String,
    service_type: String,
}

/// Advanced settings: keys that nobody here knows among them.
pub(super) type Settings = Map<String, Value>;

impl Qovery {
    /// All services of the environment.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn services(&self) -> Result<Vec<Service>, CallError> {
        let listed: Services = self.get(&format!("/environment/{}/services", self.environment())).await?;
        let service =
            |listed: ListedService| Ok(Service { id: listed.id.parse()?, name: listed.name, kind: ServiceKind::of(&listed.service_type) });
        let services: Result<_, NameProblem> = listed.results.into_iter().map(service).collect();
        services.map_err(|problem| error::unreadable(&serde::de::Error::custom(problem)))
    }

    /// The ServiceAccount that a service asks for, if it does.
    ///
    /// # Errors
    /// Qovery refuses, does not answer, or answers in an unknown form.
    pub async fn service_account_of(&self, service: &Service) -> Result<Option<String>, CallError> {
        named(&self.settings(service).await?)
    }

    /// Lets a service ask for this ServiceAccount: its settings are read, one key is changed, and all are written back, since the
    /// API takes and replaces them whole.
    ///
    /// # Errors
    /// Qovery refuses or does not answer; or the service asks by now for another ServiceAccount than `before` or the wanted one:
    /// then somebody else was faster, and [`ErrorKind::AlreadyExists`] says so.
    pub async fn bind(&self, service: &Service, service_account: &ServiceAccountName, before: Option<&str>) -> Result<(), CallError> {
        let mut settings = self.settings(service).await?;
        let present = named(&settings)?;
        if present.as_deref() == Some(service_account.as_str()) {
            return Ok(());
        }
        if present.as_deref() != before {
            let message = format!("its ServiceAccount is `{}` by now", present.unwrap_or_default());
            return Err(CallError::new(ErrorKind::AlreadyExists, "Changed", message));
        }
        settings.insert(SERVICE_ACCOUNT.to_owned(), service_account.as_str().into());
        self.put(&path(service), &Value::Object(settings)).await
    }

    async fn settings(&self, service: &Service) -> Result<Settings, CallError> {
        self.get(&path(service)).await
    }
}

fn path(service: &Service) -> String {
    let kind = match service.kind {
        ServiceKind::Application => "application",
        ServiceKind::Container => "container",
        ServiceKind::Terraform => "terraform",
        ServiceKind::Job | ServiceKind::Other(_) => "job",
    };
    format!("/{kind}/{}/advancedSettings", service.id)
}

/// An empty name is none.
fn named(settings: &Settings) -> Result<Option<String>, CallError> {
    match settings.get(SERVICE_ACCOUNT) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone()).filter(|name| !name.is_empty())),
        Some(_) => Err(error::unreadable(&serde::de::Error::custom(format_args!("`{SERVICE_ACCOUNT}` is no text")))),
    }
}
