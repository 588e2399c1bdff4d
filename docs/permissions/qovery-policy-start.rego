# The policy of an API policy token of Qovery for the job: what `start`, `stop`, `delete` and `plan` ask, and nothing else.
# Qovery Console, organization settings, Token API, Policy API Token (Beta): paste this as the policy.
# https://www.qovery.com/docs/configuration/organization/api-policy-token

default allow := false

# TO CHANGE: the project whose environments run the job. Clones and previews are in it too.
project := "00000000-0000-4000-8000-000000000000"

allow if {
	input.qovery_metadata.project_id == project
	asked
}

# The services to bind, the states that tell a deletion of the environment from one of the job alone, the services that are skipped.
asked if {
	input.request.method == "GET"
	["api", "environment", _, part] = input.request.path
	part in {"services", "statuses", "deploymentStage"}
}

# The ServiceAccount of a service: its advanced settings are read, one is changed, all are written.
asked if {
	input.request.method in {"GET", "PUT"}
	["api", kind, _, "advancedSettings"] = input.request.path
	kind in {"application", "container", "job", "terraform"}
}

# Left out on purpose: a policy cannot see whose variables are asked for, so this allows to read those of the whole organization.
# Without it, a deploy says that it could not look for AWS keys among the variables of the services.
# allow if {
# 	input.request.method == "GET"
# 	input.request.path == ["api", "variable"]
# }
