"""The chart of this project, linted and rendered by Helm's own code, against what the sandbox makes of it.

usage: chart_probe.py CHART RENDERER...
RENDERER gets the chart's folder and the values as JSON, and prints the objects as a JSON list; it fails where Helm refuses.
"""

import json
import subprocess
import sys

import helm_python as helm

ROLE = "arn:aws:iam::123456789012:role/qovery-irsa-prod"
GOOD = [
    {"serviceAccount": "qovery-irsa", "roleArn": ROLE},
    {"serviceAccount": "a.b-c", "roleArn": "arn:aws-us-gov:iam::123456789012:role/path/of/it"},
]
BAD = [
    {},
    {"serviceAccount": "qovery-irsa"},
    {"serviceAccount": "Not_A_Name", "roleArn": ROLE},
    {"serviceAccount": "qovery-irsa", "roleArn": "nonsense"},
    {"serviceAccount": "qovery-irsa", "roleArn": ROLE, "more": 1},
]
# Qovery's engine takes these, and no document that is no object.
KINDS = ["Role", "RoleBinding", "ServiceAccount"]

chart_folder, renderer = sys.argv[1], sys.argv[2:]
chart = helm.Chart.load(chart_folder)
failures = []


def of_helm(values):
    chart.validate_schema(chart.merge_values(values))
    rendered = chart.render(values, name="release-name", namespace="default")
    # Each template is one document: another would be left out here, and the kinds would not be all.
    return [helm.values_from_yaml(text) for _, text in sorted(rendered.items())]


def of_sandbox(values):
    ended = subprocess.run([*renderer, chart_folder, json.dumps(values)], capture_output=True, text=True, check=False)
    return json.loads(ended.stdout) if ended.returncode == 0 else None


for finding in helm.lint(chart_folder, values=GOOD[0]).get("messages", []):
    # An icon is recommended, which is no warning.
    if finding.get("severity", 0) not in (0, 1):
        failures.append(f"lint: {finding}")
for values in GOOD:
    documents = of_helm(values)
    if sorted(document["kind"] for document in documents) != KINDS:
        failures.append(f"{values}: {documents}")
    if documents != of_sandbox(values):
        failures.append(f"{values}: Helm makes {documents}, the sandbox {of_sandbox(values)}")
for values in BAD:
    try:
        failures.append(f"{values}: Helm takes them: {of_helm(values)}")
    except helm.HelmError:
        pass
    if of_sandbox(values) is not None:
        failures.append(f"{values}: the sandbox takes them")
print("\n".join(failures) or f"lint, {len(GOOD)} renderings and {len(BAD)} refusals: as Helm {helm.helm_sdk_version()}")
sys.exit(bool(failures))
