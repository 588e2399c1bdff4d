//! `ValidatingAdmissionPolicy`: the expressions of the stored policies are evaluated as they stand there, in CEL.
//!
//! What of a policy is not known here, and what the interpreter cannot evaluate, is answered with 501: it never lets a request pass.
//! Types are not checked when a policy is stored, parameters and the authorizer stay out, and costs are not counted.
//! <https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/>

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use cel::{
    Context, Env, ExecutionError, Program,
    objects::{Key, Map},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Call, Kubernetes,
    metadata::{has_generated_name, text},
    resources::{Attributes, Resource, by_plural},
    status::Failure,
    store::{timestamp, unix_seconds},
};

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation<'a> {
    /// It comes to be.
    Create(&'a Value),
    /// It becomes another.
    Update(&'a Value, &'a Value),
    /// It goes.
    Delete(&'a Value),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicySpec {
    #[serde(default)]
    failure_policy: FailurePolicy,
    match_constraints: MatchConstraints,
    #[serde(default)]
    match_conditions: Vec<Named>,
    #[serde(default)]
    variables: Vec<Named>,
    #[serde(default)]
    validations: Vec<Validation>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
enum FailurePolicy {
    #[default]
    Fail,
    Ignore,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MatchConstraints {
    resource_rules: Vec<ResourceRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceRule {
    api_groups: Vec<String>,
    api_versions: Vec<String>,
    operations: Vec<String>,
    resources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Validation {
    expression: String,
    message: Option<String>,
    message_expression: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Binding {
    policy_name: String,
    validation_actions: Vec<String>,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq)]
enum Trouble {
    /// It fails in a real API server too.
    Fails(String),
    /// Nobody knows: the interpreter does not know something of it.
    NotKnown(String),
}

/// What keeps a request from passing.
struct Denial {
    message: String,
    reason: Option<String>,
}

impl Denial {
    fn of(message: String) -> Self {
        Self { message, reason: None }
    }
}

impl Kubernetes {
    /// Asks every policy that is bound.
    ///
    /// # Errors
    /// One of them denies it, or cannot be evaluated.
    pub(super) fn validate_admission(&self, call: &Call<'_>, operation: Operation<'_>, dry_run: bool) -> Result<(), Failure> {
        let stored =
            |plural: &str| -> Vec<&Value> { by_plural(plural).map(|kind| self.store.list(kind, "").collect()).unwrap_or_default() };
        let policies = stored("validatingadmissionpolicies");
        for stored_binding in stored("validatingadmissionpolicybindings") {
            let binding: Binding = read(stored_binding)?;
            if !self.policies_count_after.is_zero() {
                let made = text(&stored_binding["metadata"], "creationTimestamp");
                let until = unix_seconds(call.now).saturating_sub(self.policies_count_after.as_secs());
                // Times of this form are in order as texts.
                if made > timestamp(until) {
                    continue;
                }
            }
            let Some(stored_policy) = policies.iter().find(|policy| policy["metadata"]["name"] == binding.policy_name.as_str()) else {
                continue;
            };
            let policy: PolicySpec = read(stored_policy)?;
            if !binding.validation_actions.iter().any(|action| action == "Deny") {
                return Err(Failure::not_implemented("a binding of an admission policy that does not deny"));
            }
            let asked = Asked::new(call, operation, dry_run);
            if !policy.match_constraints.resource_rules.iter().any(|rule| rule.matches(&asked)) {
                continue;
            }
            if let Some(denial) = policy.judge(&asked).map_err(|what| Failure::not_implemented(&what))? {
                let (policy, binding) = (&binding.policy_name, text(&stored_binding["metadata"], "name"));
                let why = format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {}", denial.message);
                return Err(Failure::denied_by_admission(call.resource, &asked.shown_name(), &why, denial.reason.as_deref()));
            }
        }
        Ok(())
    }
}

/// What a stored policy or binding says. What of it is not known here could let something pass.
fn read<T: for<'de> Deserialize<'de>>(object: &Value) -> Result<T, Failure> {
    serde_json::from_value(object["spec"].clone())
        .map_err(|error| Failure::not_implemented(&format!("{} `{}`: {error}", text(object, "kind"), text(&object["metadata"], "name"))))
}

/// A request as a policy sees it.
struct Asked<'a> {
    attributes: &'a Attributes,
    resource: &'static Resource,
    operation: Operation<'a>,
    request: Value,
}

impl<'a> Asked<'a> {
    fn new(call: &'a Call<'_>, operation: Operation<'a>, dry_run: bool) -> Self {
        let (attributes, resource) = (call.attributes, call.resource);
        let mut asked = Self { attributes, resource, operation, request: Value::Null };
        let resource_named = json!({"group": attributes.group, "version": attributes.version, "resource": attributes.plural});
        let kind = match operation {
            // A token is asked for by an object of another kind than the one it is asked of.
            Operation::Create(object) if !attributes.subresource.is_empty() => {
                let api_version = text(object, "apiVersion");
                let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
                json!({"group": group, "version": version, "kind": object["kind"]})
            }
            _ => json!({"group": resource.group, "version": resource.version, "kind": resource.kind}),
        };
        // What is empty is not there: an expression that reads it without `has()` fails, as in a real API server.
        let mut request = json!({
            "uid": "00000000-0000-4000-8000-000000000000",
            "kind": kind,
            "resource": resource_named,
            "requestKind": kind,
            "requestResource": resource_named,
            "operation": asked.operation_name(),
            "userInfo": call.user.document(),
            "dryRun": dry_run,
        });
        let name = asked.name();
        for (member, value) in [
            ("namespace", attributes.namespace.as_str()),
            ("name", name.as_str()),
            ("subResource", attributes.subresource.as_str()),
            ("requestSubResource", attributes.subresource.as_str()),
        ] {
            if !value.is_empty() {
                request[member] = value.into();
            }
        }
        asked.request = request;
        asked
    }

    fn operation_name(&self) -> &'static str {
        match self.operation {
            Operation::Create(_) => "CREATE",
            Operation::Update(..) => "UPDATE",
            Operation::Delete(_) => "DELETE",
        }
    }

    /// The name in the path, or that a client gives to what is created. The deletion of a collection has none, and a request that leaves the
    /// name to the API server has none yet, though the object has.
    fn name(&self) -> String {
        match self.operation {
            Operation::Create(object) if self.attributes.name.is_empty() && !has_generated_name(object) => {
                text(&object["metadata"], "name")
            }
            _ => self.attributes.name.clone(),
        }
    }

    /// As a refusal names it.
    fn shown_name(&self) -> String {
        let name = self.name();
        if name.is_empty() { "Unknown".to_owned() } else { name }
    }

    const fn objects(&self) -> (&Value, &Value) {
        match self.operation {
            Operation::Create(object) => (object, &Value::Null),
            Operation::Update(old, object) => (object, old),
            Operation::Delete(old) => (&Value::Null, old),
        }
    }
}

impl ResourceRule {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        let (plural, subresource) = (asked.attributes.plural.as_str(), asked.attributes.subresource.as_str());
        let resource = self.resources.iter().any(|pattern| {
            let (wanted, below) = pattern.split_once('/').unwrap_or((pattern, ""));
            (wanted == "*" || wanted == plural) && (below == "*" || below == subresource)
        });
        resource
            && has(&self.api_groups, &asked.attributes.group)
            && has(&self.api_versions, asked.resource.version)
            && has(&self.operations, asked.operation_name())
    }
}

impl PolicySpec {
    /// Why it denies a request that its constraints match; or what of it cannot be evaluated.
    fn judge(&self, asked: &Asked<'_>) -> Result<Option<Denial>, String> {
        let mut scope = Scope::new(asked);
        // A condition that does not hold decides even where another one fails.
        let mut failed = None;
        for condition in &self.match_conditions {
            match scope.is_true(&condition.expression) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(Trouble::Fails(why)) => failed = Some(why),
                Err(Trouble::NotKnown(what)) => return Err(what),
            }
        }
        if let Some(why) = failed {
            return Ok(self.failed(why));
        }
        // A real API server does not store such a policy.
        if let Some(variable) = self.variables.iter().find(|variable| !is_identifier(&variable.name)) {
            return Err(format!("`{}` is no name for a variable: it is no identifier in CEL, or reserved", variable.name));
        }
        scope.define(&self.variables);
        for validation in &self.validations {
            match scope.is_true(&validation.expression) {
                Ok(true) => {}
                Ok(false) => {
                    let said = match &validation.message_expression {
                        Some(expression) => scope.message(expression)?,
                        None => None,
                    };
                    let message = said.or_else(|| validation.message.clone());
                    let message = message.unwrap_or_else(|| format!("failed expression: {}", validation.expression.trim()));
                    return Ok(Some(Denial { message, reason: validation.reason.clone() }));
                }
                Err(Trouble::Fails(why)) => {
                    if let Some(denial) = self.failed(format!("expression '{}' resulted in error: {why}", validation.expression)) {
                        return Ok(Some(denial));
                    }
                }
                Err(Trouble::NotKnown(what)) => return Err(what),
            }
        }
        Ok(None)
    }

    fn failed(&self, why: String) -> Option<Denial> {
        (self.failure_policy == FailurePolicy::Fail).then(|| Denial::of(why))
    }
}

/// <https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax>
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

fn is_identifier(name: &str) -> bool {
    let letters = |letter: char| letter == '_' || letter.is_ascii_alphabetic();
    name.starts_with(letters) && name.chars().all(|letter| letters(letter) || letter.is_ascii_digit()) && !RESERVED.contains(&name)
}

/// The standard functions; those that Kubernetes adds are not among them.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

type Programs = BTreeMap<String, Result<Arc<Program>, String>>;

/// Each expression is parsed once.
static PROGRAMS: LazyLock<Mutex<Programs>> = LazyLock::new(Mutex::default);

fn program(expression: &str) -> Result<Arc<Program>, Trouble> {
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let parsed = programs
        .entry(expression.to_owned())
        .or_insert_with(|| ENVIRONMENT.compile(expression).map(Arc::new).map_err(|errors| errors.to_string().trim().to_owned()));
    parsed.clone().map_err(|errors| Trouble::NotKnown(format!("expression `{expression}`: {errors}")))
}

/// What expressions can name.
struct Scope {
    context: Context<'static, 'static>,
    variables: Map,
    /// Variables without a value. They matter to those alone who use them, as in the API server, which computes them when they are used.
    troubles: BTreeMap<String, Trouble>,
}

impl Scope {
    fn new(asked: &Asked<'_>) -> Self {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        let (object, old) = asked.objects();
        for (name, value) in [("request", &asked.request), ("object", object), ("oldObject", old)] {
            context.add_variable_from_value(name, in_cel(value));
        }
        Self { context, variables: Map { map: Arc::default() }, troubles: BTreeMap::new() }
    }

    /// Defines variables, each from those before it.
    fn define(&mut self, variables: &[Named]) {
        for Named { name, expression } in variables {
            self.context.add_variable_from_value("variables", cel::Value::Map(self.variables.clone()));
            match self.evaluate(expression) {
                Ok(value) => drop(Arc::make_mut(&mut self.variables.map).insert(Key::from(name.clone()), value)),
                Err(trouble) => drop(self.troubles.insert(name.clone(), trouble)),
            }
        }
        self.context.add_variable_from_value("variables", cel::Value::Map(self.variables.clone()));
    }

    fn evaluate(&self, expression: &str) -> Result<cel::Value, Trouble> {
        let program = program(expression)?;
        program.execute(&self.context).map_err(|error| match &error {
            ExecutionError::NoSuchKey(key) => match self.troubles.get(key.as_str()) {
                Some(trouble) => trouble.clone(),
                None => Trouble::Fails(format!("no such key: {key}")),
            },
            ExecutionError::IndexOutOfBounds(_) | ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                Trouble::Fails(error.to_string())
            }
            // A function, a type or a name that the interpreter does not have.
            _ => Trouble::NotKnown(format!("expression `{expression}`: {error}")),
        })
    }

    fn is_true(&self, expression: &str) -> Result<bool, Trouble> {
        match self.evaluate(expression)? {
            cel::Value::Bool(value) => Ok(value),
            other => Err(Trouble::NotKnown(format!("expression `{expression}` is {:?} and no boolean", other.type_of()))),
        }
    }

    /// One that fails, or is empty or of several lines, is left out, as in the API server.
    fn message(&self, expression: &str) -> Result<Option<String>, String> {
        match self.evaluate(expression) {
            Ok(cel::Value::String(text)) => {
                let text = text.trim();
                Ok((!text.is_empty() && !text.contains('\n')).then(|| text.to_owned()))
            }
            Ok(other) => Err(format!("expression `{expression}` is {:?} and no string", other.type_of())),
            Err(Trouble::Fails(_)) => Ok(None),
            Err(Trouble::NotKnown(what)) => Err(what),
        }
    }
}

/// A document as CEL sees it: whole numbers are `int`, as the API server has them.
fn in_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => number.as_i64().map_or_else(|| cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)), cel::Value::Int),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(in_cel).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            let map = members.iter().map(|(key, value)| (Key::from(key.clone()), in_cel(value))).collect();
            cel::Value::Map(Map { map: Arc::new(map) })
        }
    }
}
