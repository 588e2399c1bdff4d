#!/usr/bin/env python3
"""Access entries, Pod Identity associations and EKS Auth through boto3: each answer has the shape that boto3's own model of the service gives it.
usage: pod_identity_probe.py ENDPOINT KUBERNETES CA   (needs boto3; AK and SK in the environment are the admin keys, ADMIN_TOKEN is Kubernetes')
A pod with a scheduling gate is made, so that no node and no image is needed, and its token is requested as a client may request it.
Ends with 0 if all is as it should be."""
import json, os, ssl, sys, urllib.request
import boto3, botocore
from botocore.config import Config

ENDPOINT, KUBERNETES, CA = sys.argv[1:4]
REGION = os.environ.get("AWS_REGION", "us-east-1")
NAMESPACE, ACCOUNT = "pod-identity-probe", "app"
failed = 0


def client(service, **keys):
    keys = keys or dict(aws_access_key_id=os.environ["AK"], aws_secret_access_key=os.environ["SK"])
    config = Config(retries={"max_attempts": 1, "mode": "standard"})
    return boto3.client(service, endpoint_url=ENDPOINT, region_name=REGION, verify=CA, config=config, **keys)


def check(name, ok, found=""):
    global failed
    failed += not ok
    print(f"{'  ' if ok else '✗ '}{name} | {str(found)[:160]}")


def strays(value, shape):
    """What an answer has that the model does not know, or in another type."""
    if shape.type_name == "structure":
        known = {shape.members[name].serialization.get("name", name): member for name, member in shape.members.items()}
        for name, part in value.items():
            if name not in known:
                yield name
            elif part is not None:
                yield from strays(part, known[name])
        yield from (f"{name} is missing" for name in shape.required_members if value.get(name) is None)
    elif shape.type_name == "list":
        for part in value:
            yield from strays(part, shape.member)
    elif shape.type_name == "map":
        for part in value.values():
            yield from strays(part, shape.value)
    else:
        types = {"string": str, "boolean": bool, "integer": int, "timestamp": (int, float)}[shape.type_name]
        if not isinstance(value, types):
            yield f"{shape.name}: {value!r}"


def call(client, operation, **parameters):
    """The answer, whose raw body was held against the model; or the code and message of the refusal."""
    model = client.meta.service_model.operation_model(operation)
    raw = {}
    grab = lambda response_dict, **_: raw.update(response_dict)
    event = f"before-parse.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register(event, grab)
    try:
        answer = getattr(client, botocore.xform_name(operation))(**parameters)
    except botocore.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        shapes = [shape.name for shape in model.error_shapes] + ["AccessDeniedException"]
        status = {shape.name: shape.metadata.get("error", {}).get("httpStatusCode") for shape in model.error_shapes}.get(code)
        check(f"{operation} refuses with an error and a status of its model: {code}", code in shapes and raw["status_code"] == (status or raw["status_code"]), raw["status_code"])
        return code, error.response["Error"]["Message"]
    finally:
        client.meta.events.unregister(event, grab)
    found = list(strays(json.loads(raw["body"] or "{}"), model.output_shape))
    check(f"{operation} answers as its model", not found, found or answer.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    return "OK", answer


def wanted(code, answer):
    check(f"  {code}", answer[0] == code, answer[1] if answer[0] != "OK" else "")
    return answer[1]


def kubernetes(method, path, body=None):
    headers = {"Authorization": "Bearer " + os.environ["ADMIN_TOKEN"], "Content-Type": "application/json"}
    request = urllib.request.Request(KUBERNETES + path, json.dumps(body).encode() if body else None, headers, method=method)
    return json.load(urllib.request.urlopen(request, context=ssl.create_default_context(cafile=CA), timeout=20))


def pod_token(audience, bound):
    """As TokenRequest gives it, for a pod that never runs."""
    spec = {"audiences": [audience], "expirationSeconds": 3600}
    if bound:
        pod = kubernetes("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/app-1")
        spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": "app-1", "uid": pod["metadata"]["uid"]}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return kubernetes("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token", request)["status"]["token"]


iam, eks, auth = client("iam"), client("eks"), client("eks-auth")
cluster = os.environ["QOVERY_KUBERNETES_CLUSTER_NAME"]
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": ["sts:AssumeRole", "sts:TagSession"],
         "Condition": {"StringEquals": {"aws:RequestTag/kubernetes-namespace": NAMESPACE}}}]}
role = iam.create_role(RoleName="pod-identity-probe", Path="/probe/", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]

wanted("OK", call(eks, "DescribeCluster", name=cluster))
wanted("OK", call(eks, "ListClusters"))
wanted("OK", call(eks, "ListAddons", clusterName=cluster))
wanted("OK", call(eks, "DescribeAddon", clusterName=cluster, addonName="eks-pod-identity-agent"))
wanted("ResourceNotFoundException", call(eks, "DescribeAddon", clusterName=cluster, addonName="vpc-cni"))
addon = dict(clusterName=cluster, addonName="vpc-cni")
made = wanted("OK", call(eks, "CreateAddon", **addon, tags={"a": "b"}))["addon"]
check("the add-on is being made, with its tags", (made["status"], made["tags"]) == ("CREATING", {"a": "b"}), str(made))
wanted("OK", call(eks, "TagResource", resourceArn=made["addonArn"], tags={"c": "d"}))
check("its tags are those of both calls", wanted("OK", call(eks, "DescribeAddon", **addon))["addon"]["tags"] == {"a": "b", "c": "d"})
wanted("ResourceInUseException", call(eks, "CreateAddon", **addon))
wanted("InvalidParameterException", call(eks, "CreateAddon", clusterName=cluster, addonName="no-such-thing"))
wanted("OK", call(eks, "DeleteAddon", **addon))
wanted("ResourceNotFoundException", call(eks, "DeleteAddon", **addon))

entry = dict(clusterName=cluster, principalArn=role)
made = wanted("OK", call(eks, "CreateAccessEntry", **entry, kubernetesGroups=["irsa"], tags={"a": "b"}))["accessEntry"]
check("the entry is that of sessions of the role", made["username"].endswith("assumed-role/pod-identity-probe/{{SessionName}}"), made["username"])
wanted("ResourceInUseException", call(eks, "CreateAccessEntry", **entry))
wanted("OK", call(eks, "DescribeAccessEntry", **entry))
wanted("OK", call(eks, "UpdateAccessEntry", **entry, kubernetesGroups=["other"]))
wanted("OK", call(eks, "ListAccessEntries", clusterName=cluster))
wanted("InvalidParameterException", call(eks, "CreateAccessEntry", clusterName=cluster, principalArn=role + "x"))
wanted("OK", call(eks, "DeleteAccessEntry", **entry))
wanted("ResourceNotFoundException", call(eks, "DescribeAccessEntry", **entry))

subject = dict(clusterName=cluster, namespace=NAMESPACE, serviceAccount=ACCOUNT)
made = wanted("OK", call(eks, "CreatePodIdentityAssociation", **subject, roleArn=role, tags={"a": "b"}))["association"]
one = dict(clusterName=cluster, associationId=made["associationId"])
wanted("ResourceInUseException", call(eks, "CreatePodIdentityAssociation", **subject, roleArn=role))
wanted("InvalidParameterException", call(eks, "CreatePodIdentityAssociation", **{**subject, "serviceAccount": "b"}, roleArn=role + "x"))
wanted("InvalidParameterException", call(eks, "UpdatePodIdentityAssociation", **one, policy=json.dumps({"Version": "2012-10-17", "Statement": []})))
listed = wanted("OK", call(eks, "ListPodIdentityAssociations", clusterName=cluster, namespace=NAMESPACE, serviceAccount=ACCOUNT))["associations"]
check("the list is filtered", [it["associationId"] for it in listed] == [made["associationId"]], listed)
wanted("OK", call(eks, "TagResource", resourceArn=made["associationArn"], tags={"c": "d"}))
wanted("OK", call(eks, "UntagResource", resourceArn=made["associationArn"], tagKeys=["a"]))
wanted("BadRequestException", call(eks, "TagResource", resourceArn=made["associationArn"], tags={"aws:a": "b"}))
wanted("NotFoundException", call(eks, "ListTagsForResource", resourceArn=made["associationArn"] + "x"))
tags = wanted("OK", call(eks, "ListTagsForResource", resourceArn=made["associationArn"]))["tags"]
check("the tags are those that are left", tags == {"c": "d"}, tags)
pages = list(eks.get_paginator("list_pod_identity_associations").paginate(clusterName=cluster, PaginationConfig={"PageSize": 1}))
check("the pages end", sum(len(page["associations"]) for page in pages) >= 1, len(pages))

kubernetes("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
kubernetes("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}})
pod = kubernetes("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app-1"}, "spec": {
    "serviceAccountName": ACCOUNT, "schedulingGates": [{"name": "probe"}], "containers": [{"name": "main", "image": "none"}]}})
variables = {it["name"]: it["value"] for it in pod["spec"]["containers"][0].get("env", [])}
sources = botocore.credentials.ContainerProvider
check("the pod has the variables that boto3 reads", {sources.ENV_VAR_FULL, sources.ENV_VAR_AUTH_TOKEN_FILE} == set(variables), variables)
wanted("InvalidTokenException", call(auth, "AssumeRoleForPodIdentity", clusterName=cluster, token=pod_token("pods.eks.amazonaws.com", False)))
wanted("InvalidTokenException", call(auth, "AssumeRoleForPodIdentity", clusterName=cluster, token=pod_token("sts.amazonaws.com", True)))
token = pod_token("pods.eks.amazonaws.com", True)
wanted("ResourceNotFoundException", call(auth, "AssumeRoleForPodIdentity", clusterName="none", token=token))
got = wanted("OK", call(auth, "AssumeRoleForPodIdentity", clusterName=cluster, token=token))
keys = got["credentials"]
session = client("sts", aws_access_key_id=keys["accessKeyId"], aws_secret_access_key=keys["secretAccessKey"], aws_session_token=keys["sessionToken"])
arn = session.get_caller_identity()["Arn"]
check("the credentials are those of a session of the role", arn == got["assumedRoleUser"]["arn"] and "assumed-role/pod-identity-probe/eks-" in arn, arn)

call(eks, "UpdatePodIdentityAssociation", **one, disableSessionTags=True)
code, message = call(auth, "AssumeRoleForPodIdentity", clusterName=cluster, token=token)
check("without session tags the condition on one does not hold", code == "AccessDeniedException", message)
wanted("OK", call(eks, "DeletePodIdentityAssociation", **one))
wanted("ResourceNotFoundException", call(eks, "DescribePodIdentityAssociation", **one))
wanted("ResourceNotFoundException", call(auth, "AssumeRoleForPodIdentity", clusterName=cluster, token=token))
kubernetes("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
iam.delete_role(RoleName="pod-identity-probe")
print("boto3 " + boto3.__version__ + (": as its models" if not failed else f": {failed} not as its models"))
sys.exit(1 if failed else 0)
