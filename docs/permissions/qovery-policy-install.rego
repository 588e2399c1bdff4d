# The policy of an API policy token of Qovery for whoever runs `install`, with `--deploy` or without, and nothing else.
# Qovery Console, organization settings, Token API, Policy API Token (Beta): paste this as the policy.
# https://www.qovery.com/docs/configuration/organization/api-policy-token
#
# A policy cannot see whose variables a request is about. So this token can read and change the variables of the whole organization.
# Give it an expiry, or delete it after the installation.

default allow := false

# TO CHANGE: the project of the environment.
project := "00000000-0000-4000-8000-000000000000"

allow if {
	input.qovery_metadata.project_id == project
	asked
}

allow if of_the_organization

allow if of_variables

# The environment, and what is in it.
asked if {
	input.request.method == "GET"
	["api", "environment", _] = input.request.path
}

asked if {
	input.request.method == "GET"
	["api", "environment", _, part] = input.request.path
	part in {"services", "deploymentStage", "statuses"}
}

# The job, and the Helm service that makes its ServiceAccount.
asked if {
	input.request.method == "POST"
	["api", "environment", _, part] = input.request.path
	part in {"job", "helm", "deploymentStage"}
}

asked if {
	input.request.method in {"GET", "PUT"}
	["api", kind, _] = input.request.path
	kind in {"job", "helm"}
}

# The settings of the job, and the ServiceAccounts of the services to bind.
asked if {
	input.request.method in {"GET", "PUT"}
	["api", kind, _, "advancedSettings"] = input.request.path
	kind in {"application", "container", "job", "terraform"}
}

# Puts a service into its stage.
asked if {
	input.request.method == "PUT"
	["api", "deploymentStage", _, "service", _] = input.request.path
}

# Only for `--deploy`.
asked if {
	input.request.method == "POST"
	["api", kind, _, "deploy"] = input.request.path
	kind in {"environment", "job", "helm"}
}

# Moves a stage to the front: stages are of no project that a policy sees.
allow if {
	input.request.method == "PUT"
	["api", "deploymentStage", _, "moveBefore", _] = input.request.path
}

# Finds registries, chart repositories and Git tokens by their names.
of_the_organization if {
	input.request.method == "GET"
	["api", "organization", _, part] = input.request.path
	part in {"containerRegistry", "helmRepository", "gitToken"}
}

# The variables and secrets of the job, and the AWS keys that services inherit.
of_variables if {
	input.request.method == "GET"
	input.request.path == ["api", "variable"]
}

of_variables if {
	input.request.method == "POST"
	input.request.path == ["api", "variable"]
	input.request.body.variable_scope == "JOB"
}

of_variables if {
	input.request.method in {"PUT", "DELETE"}
	["api", "variable", _] = input.request.path
}
