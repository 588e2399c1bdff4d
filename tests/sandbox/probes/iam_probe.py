#!/usr/bin/env python3
"""Fidelity probe of an AWS endpoint (IAM, STS, EKS): what AWS answers against what ENDPOINT answers.
usage: iam_probe.py ENDPOINT [--token FILE]   (needs boto3; AK and SK in the environment are the admin keys)
FILE holds a web identity token of ServiceAccount team/app for audience sts.amazonaws.com, signed by the cluster whose issuer is $ISS."""
import sys, json, time, base64, os, urllib.parse, re
import boto3, botocore
from botocore.config import Config
EP = sys.argv[1]
TOKEN = open(sys.argv[sys.argv.index("--token") + 1]).read().strip() if "--token" in sys.argv else None
AK = os.environ.get("AK", "test"); SK = os.environ.get("SK", "test")
REGION = os.environ.get("AWS_REGION", "us-east-1")
cfg = Config(retries={"max_attempts": 1, "mode": "standard"}, read_timeout=30, connect_timeout=5, parameter_validation=False)
def cl(s, ak=AK, sk=SK, tok=None):
    return boto3.client(s, endpoint_url=EP, region_name=REGION, aws_access_key_id=ak, aws_secret_access_key=sk, aws_session_token=tok, config=cfg, verify=False)
iam, sts, eks = cl("iam"), cl("sts"), cl("eks")
rows = []
def call(f, *a, **k):
    try:
        r = f(*a, **k); r.pop("ResponseMetadata", None); return ("OK", r)
    except botocore.exceptions.ClientError as e:
        return (e.response["Error"].get("Code"), e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"].get("Message", "")[:160])
    except Exception as e:
        return ("EXC", type(e).__name__, str(e)[:160])
def ck(label, expected, res, show=None):
    code = res[0]
    if code == "OK":
        got = "OK" + (" " + show(res[1]) if show else "")
    else:
        got = f"{code} [{res[1]}] {res[2]}"
    ok = (expected == "OK" and code == "OK") or (expected != "OK" and code in expected.split("|"))
    if show and code == "OK" and "!!" in got: ok = False
    rows.append((label, expected, got, ok)); print(("  " if ok else "✗ ") + f"{label} | want {expected} | {got}"); return res
ISS = os.environ.get("ISS", "https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF")
host = ISS[8:]
acct = "?"
r = ck("sts GetCallerIdentity", "OK", call(sts.get_caller_identity), lambda r: r["Account"] + " " + r["Arn"])
if r[0] == "OK": acct = r[1]["Account"]
# --- OIDC provider
tp = "9e99a48a9960b14926bb7f3b02e22da2b0ab7280"
r = ck("CreateOIDC no thumbprint", "OK", call(iam.create_open_id_connect_provider, Url=ISS, ClientIDList=["sts.amazonaws.com"], Tags=[{"Key": "a", "Value": "b"}]), lambda r: r["OpenIDConnectProviderArn"] + " tags=" + str(r.get("Tags")))
parn = r[1]["OpenIDConnectProviderArn"] if r[0] == "OK" else f"arn:aws:iam::{acct}:oidc-provider/{host}"
ck("CreateOIDC duplicate", "EntityAlreadyExists", call(iam.create_open_id_connect_provider, Url=ISS, ClientIDList=["sts.amazonaws.com"]))
r2 = ck("CreateOIDC with thumbprint", "OK", call(iam.create_open_id_connect_provider, Url=ISS + "2", ClientIDList=["sts.amazonaws.com"], ThumbprintList=[tp]))
if r[0] != "OK": parn = ck("CreateOIDC main w/ thumbprint", "OK", call(iam.create_open_id_connect_provider, Url=ISS, ClientIDList=["sts.amazonaws.com"], ThumbprintList=[tp]))[1]["OpenIDConnectProviderArn"]
ck("CreateOIDC bad thumbprint length", "InvalidInput|ValidationError", call(iam.create_open_id_connect_provider, Url=ISS + "3", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["abc"]))
ck("CreateOIDC http:// url", "ValidationError|InvalidInput", call(iam.create_open_id_connect_provider, Url="http://example.com/x", ClientIDList=["sts.amazonaws.com"], ThumbprintList=[tp]))
ck("GetOIDC", "OK", call(iam.get_open_id_connect_provider, OpenIDConnectProviderArn=parn), lambda r: ("" if r["Url"] == host else "!!url ") + r["Url"][:20] + ".. clients=" + str(r["ClientIDList"]) + " tp=" + str(r.get("ThumbprintList")) + " tags=" + str(r.get("Tags")))
ck("GetOIDC missing", "NoSuchEntity", call(iam.get_open_id_connect_provider, OpenIDConnectProviderArn=f"arn:aws:iam::{acct}:oidc-provider/nope.example.com"))
ck("AddClientID", "OK", call(iam.add_client_id_to_open_id_connect_provider, OpenIDConnectProviderArn=parn, ClientID="extra"))
ck("AddClientID again (idempotent)", "OK", call(iam.add_client_id_to_open_id_connect_provider, OpenIDConnectProviderArn=parn, ClientID="extra"))
ck("GetOIDC after add", "OK", call(iam.get_open_id_connect_provider, OpenIDConnectProviderArn=parn), lambda r: ("" if sorted(r["ClientIDList"]) == ["extra", "sts.amazonaws.com"] else "!!") + str(r["ClientIDList"]))
ck("RemoveClientID", "OK", call(iam.remove_client_id_from_open_id_connect_provider, OpenIDConnectProviderArn=parn, ClientID="extra"))
ck("AddClientID missing provider", "NoSuchEntity", call(iam.add_client_id_to_open_id_connect_provider, OpenIDConnectProviderArn=f"arn:aws:iam::{acct}:oidc-provider/nope.example.com", ClientID="x"))
ck("UpdateThumbprint", "OK", call(iam.update_open_id_connect_provider_thumbprint, OpenIDConnectProviderArn=parn, ThumbprintList=[tp]))
ck("TagOIDC", "OK", call(iam.tag_open_id_connect_provider, OpenIDConnectProviderArn=parn, Tags=[{"Key": "k", "Value": "v"}]))
ck("ListOIDCTags", "OK", call(iam.list_open_id_connect_provider_tags, OpenIDConnectProviderArn=parn), lambda r: str(r.get("Tags")))
ck("ListOIDC", "OK", call(iam.list_open_id_connect_providers), lambda r: str(len(r["OpenIDConnectProviderList"])))
# --- roles
def trust(sub="system:serviceaccount:team:app", aud="sts.amazonaws.com", h=host, p=None, **extra):
    st = {"Effect": "Allow", "Principal": {"Federated": p or parn}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {h + ":aud": aud, h + ":sub": sub}}}
    st.update(extra); return json.dumps({"Version": "2012-10-17", "Statement": [st]})
ck("CreateRole", "OK", call(iam.create_role, RoleName="app", Path="/irsa/", AssumeRolePolicyDocument=trust(), Description="d", MaxSessionDuration=3600, Tags=[{"Key": "owner", "Value": "t"}]), lambda r: r["Role"]["Arn"] + " " + r["Role"]["RoleId"][:4] + " tags=" + str(r["Role"].get("Tags")))
ck("CreateRole duplicate", "EntityAlreadyExists", call(iam.create_role, RoleName="app", AssumeRolePolicyDocument=trust()))
ck("CreateRole duplicate other case/path", "EntityAlreadyExists", call(iam.create_role, RoleName="APP", AssumeRolePolicyDocument=trust()))
ck("CreateRole not JSON", "MalformedPolicyDocument", call(iam.create_role, RoleName="b1", AssumeRolePolicyDocument="{nope"))
ck("CreateRole trust with Resource", "MalformedPolicyDocument", call(iam.create_role, RoleName="b2", AssumeRolePolicyDocument=trust(Resource="*")))
ck("CreateRole trust no Principal", "MalformedPolicyDocument", call(iam.create_role, RoleName="b3", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole"}]}'))
ck("CreateRole trust bad Effect", "MalformedPolicyDocument", call(iam.create_role, RoleName="b4", AssumeRolePolicyDocument=trust(Effect="allow")))
ck("CreateRole trust bad Version", "MalformedPolicyDocument", call(iam.create_role, RoleName="b4v", AssumeRolePolicyDocument=trust().replace("2012-10-17", "2020-01-01")))
ck("CreateRole trust bad cond operator", "MalformedPolicyDocument", call(iam.create_role, RoleName="b5", AssumeRolePolicyDocument=trust(Condition={"StringEqualz": {"a": "b"}})))
ck("CreateRole trust non-sts action", "MalformedPolicyDocument", call(iam.create_role, RoleName="b6", AssumeRolePolicyDocument=trust(Action="s3:GetObject")))
ck("CreateRole trust nonexistent role principal", "MalformedPolicyDocument", call(iam.create_role, RoleName="b7", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{acct}:role/nonexistent"}, "Action": "sts:AssumeRole"}]})))
big = trust(sub=["system:serviceaccount:team:app-%04d" % i for i in range(60)])
ck("CreateRole trust %d chars" % len(big), "LimitExceeded", call(iam.create_role, RoleName="b8", AssumeRolePolicyDocument=big))
ck("CreateRole 65-char name", "ValidationError", call(iam.create_role, RoleName="n" * 65, AssumeRolePolicyDocument=trust()))
ck("CreateRole bad name chars", "ValidationError|InvalidInput", call(iam.create_role, RoleName="a b", AssumeRolePolicyDocument=trust()))
ck("CreateRole MaxSessionDuration 100", "ValidationError", call(iam.create_role, RoleName="b9", AssumeRolePolicyDocument=trust(), MaxSessionDuration=100))
ck("CreateRole missing boundary policy", "NoSuchEntity|InvalidInput", call(iam.create_role, RoleName="b10", AssumeRolePolicyDocument=trust(), PermissionsBoundary=f"arn:aws:iam::{acct}:policy/none"))
ck("GetRole", "OK", call(iam.get_role, RoleName="app"), lambda r: ("" if r["Role"]["AssumeRolePolicyDocument"] == json.loads(trust()) else "!!doc ") + "desc=%s max=%s tags=%s path=%s lastused=%s" % (r["Role"].get("Description"), r["Role"].get("MaxSessionDuration"), r["Role"].get("Tags"), r["Role"]["Path"], r["Role"].get("RoleLastUsed")))
ck("GetRole missing", "NoSuchEntity", call(iam.get_role, RoleName="none"))
# raw form of the document
raw = {}
def grab(http_response, **kw): raw["body"] = http_response.text
try:
    iam.meta.events.register("before-parse.iam.GetRole", lambda **k: raw.setdefault("b", (k.get("response_dict") or {}).get("body")))
    call(iam.get_role, RoleName="app")
    b = raw.get("b"); b = b.decode() if isinstance(b, bytes) else (b or "")
    m = re.search("<AssumeRolePolicyDocument>(.*?)</AssumeRolePolicyDocument>", b, re.S); s = (m.group(1) if m else "")
    good = s.startswith("%7B") and "+" not in s
    rows.append(("GetRole document is RFC3986 percent-encoded", "yes", s[:40], good)); print(("  " if good else "✗ ") + "GetRole raw doc | " + s[:60])
except Exception as e: print("raw doc:", e)
ck("UpdateAssumeRolePolicy", "OK", call(iam.update_assume_role_policy, RoleName="app", PolicyDocument=trust()))
ck("UpdateAssumeRolePolicy malformed", "MalformedPolicyDocument", call(iam.update_assume_role_policy, RoleName="app", PolicyDocument="{nope"))
ck("UpdateAssumeRolePolicy with Resource", "MalformedPolicyDocument", call(iam.update_assume_role_policy, RoleName="app", PolicyDocument=trust(Resource="*")))
ck("UpdateAssumeRolePolicy >2048", "LimitExceeded", call(iam.update_assume_role_policy, RoleName="app", PolicyDocument=big))
ck("UpdateAssumeRolePolicy missing role", "NoSuchEntity", call(iam.update_assume_role_policy, RoleName="none", PolicyDocument=trust()))
call(iam.update_assume_role_policy, RoleName="app", PolicyDocument=trust())
# --- policies
RO = "arn:aws:iam::aws:policy/ReadOnlyAccess"
ck("AttachRolePolicy managed", "OK", call(iam.attach_role_policy, RoleName="app", PolicyArn=RO))
ck("AttachRolePolicy again (idempotent)", "OK", call(iam.attach_role_policy, RoleName="app", PolicyArn=RO))
ck("AttachRolePolicy nonexistent aws policy", "NoSuchEntity", call(iam.attach_role_policy, RoleName="app", PolicyArn="arn:aws:iam::aws:policy/DoesNotExist123"))
ck("AttachRolePolicy nonexistent own policy", "NoSuchEntity", call(iam.attach_role_policy, RoleName="app", PolicyArn=f"arn:aws:iam::{acct}:policy/none"))
ck("AttachRolePolicy bad arn", "InvalidInput|ValidationError", call(iam.attach_role_policy, RoleName="app", PolicyArn="not-an-arn-but-more-than-20-chars"))
PD = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})
pol = []
for i in range(12):
    r = call(iam.create_policy, PolicyName="p%d" % i, PolicyDocument=PD)
    if r[0] == "OK": pol.append(r[1]["Policy"]["Arn"])
res = [call(iam.attach_role_policy, RoleName="app", PolicyArn=p) for p in pol]
bad = next((x for x in res if x[0] != "OK"), None)
ck("AttachRolePolicy beyond 10", "LimitExceeded", bad or ("OK", {}))
ck("ListAttachedRolePolicies", "OK", call(iam.list_attached_role_policies, RoleName="app"), lambda r: "%d trunc=%s" % (len(r["AttachedPolicies"]), r.get("IsTruncated")))
ck("ListAttachedRolePolicies MaxItems=3", "OK", call(iam.list_attached_role_policies, RoleName="app", MaxItems=3), lambda r: ("" if r.get("IsTruncated") and len(r["AttachedPolicies"]) == 3 else "!!") + "%d trunc=%s marker=%s" % (len(r["AttachedPolicies"]), r.get("IsTruncated"), bool(r.get("Marker"))))
ck("DetachRolePolicy", "OK", call(iam.detach_role_policy, RoleName="app", PolicyArn=pol[0] if pol else RO))
ck("DetachRolePolicy not attached", "NoSuchEntity", call(iam.detach_role_policy, RoleName="app", PolicyArn=pol[0] if pol else RO))
ck("PutRolePolicy", "OK", call(iam.put_role_policy, RoleName="app", PolicyName="inl", PolicyDocument=PD))
ck("PutRolePolicy malformed", "MalformedPolicyDocument", call(iam.put_role_policy, RoleName="app", PolicyName="bad", PolicyDocument="{nope"))
ck("PutRolePolicy no Resource", "MalformedPolicyDocument", call(iam.put_role_policy, RoleName="app", PolicyName="bad", PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject"}]}'))
ck("PutRolePolicy action w/o vendor", "MalformedPolicyDocument", call(iam.put_role_policy, RoleName="app", PolicyName="bad", PolicyDocument=PD.replace("s3:GetObject", "GetObject")))
ck("PutRolePolicy >10240", "LimitExceeded", call(iam.put_role_policy, RoleName="app", PolicyName="big", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": ["arn:aws:s3:::bucket/%06d" % i for i in range(600)]}]})))
ck("GetRolePolicy", "OK", call(iam.get_role_policy, RoleName="app", PolicyName="inl"), lambda r: "" if r["PolicyDocument"] == json.loads(PD) else "!!")
ck("ListRolePolicies", "OK", call(iam.list_role_policies, RoleName="app"), lambda r: str(r["PolicyNames"]))
ck("TagRole", "OK", call(iam.tag_role, RoleName="app", Tags=[{"Key": "x", "Value": "y"}]))
ck("TagRole aws: prefix", "InvalidInput|ValidationError", call(iam.tag_role, RoleName="app", Tags=[{"Key": "aws:x", "Value": "y"}]))
ck("TagRole >50 total", "LimitExceeded|ValidationError|InvalidInput", call(iam.tag_role, RoleName="app", Tags=[{"Key": "k%d" % i, "Value": "y"} for i in range(50)]))
ck("ListRoleTags", "OK", call(iam.list_role_tags, RoleName="app"), lambda r: str(len(r["Tags"])))
ck("UntagRole", "OK", call(iam.untag_role, RoleName="app", TagKeys=["x"]))
ck("UpdateRole", "OK", call(iam.update_role, RoleName="app", Description="new", MaxSessionDuration=7200))
ck("GetRole after UpdateRole", "OK", call(iam.get_role, RoleName="app"), lambda r: ("" if r["Role"].get("Description") == "new" and r["Role"].get("MaxSessionDuration") == 7200 else "!!") + str(r["Role"].get("Description")) + str(r["Role"].get("MaxSessionDuration")))
ck("PutRolePermissionsBoundary", "OK", call(iam.put_role_permissions_boundary, RoleName="app", PermissionsBoundary=RO))
ck("PutRolePermissionsBoundary missing policy", "NoSuchEntity|InvalidInput", call(iam.put_role_permissions_boundary, RoleName="app", PermissionsBoundary=f"arn:aws:iam::{acct}:policy/none"))
ck("GetRole boundary", "OK", call(iam.get_role, RoleName="app"), lambda r: ("" if r["Role"].get("PermissionsBoundary") else "!!") + str(r["Role"].get("PermissionsBoundary")))
ck("DeleteRolePermissionsBoundary", "OK", call(iam.delete_role_permissions_boundary, RoleName="app"))
ck("DeleteRole with attachments", "DeleteConflict", call(iam.delete_role, RoleName="app"))
ck("DeletePolicy attached", "DeleteConflict", call(iam.delete_policy, PolicyArn=pol[1] if len(pol) > 1 else RO))
# --- versions of a managed policy
V = dict(PolicyArn=call(iam.create_policy, PolicyName="versions", PolicyDocument=PD)[1]["Policy"]["Arn"])
ck("CreatePolicyVersion", "OK", call(iam.create_policy_version, **V, PolicyDocument=PD, SetAsDefault=True), lambda r: ("" if (r["PolicyVersion"]["VersionId"], r["PolicyVersion"]["IsDefaultVersion"]) == ("v2", True) else "!!") + str(r["PolicyVersion"]))
ck("GetPolicyVersion", "OK", call(iam.get_policy_version, **V, VersionId="v1"), lambda r: ("" if r["PolicyVersion"]["Document"] == json.loads(PD) and not r["PolicyVersion"]["IsDefaultVersion"] else "!!"))
ck("DeletePolicy with versions", "DeleteConflict", call(iam.delete_policy, **V))
ck("DeletePolicyVersion default", "DeleteConflict", call(iam.delete_policy_version, **V, VersionId="v2"))
for _ in range(3): call(iam.create_policy_version, **V, PolicyDocument=PD)
ck("CreatePolicyVersion, the sixth", "LimitExceeded", call(iam.create_policy_version, **V, PolicyDocument=PD))
ck("ListPolicyVersions", "OK", call(iam.list_policy_versions, **V), lambda r: ("" if [v["VersionId"] for v in r["Versions"]] == ["v5", "v4", "v3", "v2", "v1"] else "!!") + str(r["Versions"]))
ck("SetDefaultPolicyVersion", "OK", call(iam.set_default_policy_version, **V, VersionId="v5"))
ck("DeletePolicyVersion", "OK", call(iam.delete_policy_version, **V, VersionId="v2"))
ck("DeletePolicyVersion missing", "NoSuchEntity", call(iam.delete_policy_version, **V, VersionId="v2"))
ck("TagPolicy", "OK", call(iam.tag_policy, **V, Tags=[{"Key": "a", "Value": "b"}]))
ck("ListPolicyTags", "OK", call(iam.list_policy_tags, **V), lambda r: ("" if r["Tags"] == [{"Key": "a", "Value": "b"}] else "!!") + str(r["Tags"]))
ck("ListEntitiesForPolicy", "OK", call(iam.list_entities_for_policy, **V), lambda r: ("" if r["PolicyRoles"] == [] else "!!") + str(r["PolicyRoles"]))
for v in ("v1", "v3", "v4"): call(iam.delete_policy_version, **V, VersionId=v)
ck("DeletePolicy with one version", "OK", call(iam.delete_policy, **V))
ck("ListRoles PathPrefix", "OK", call(iam.list_roles, PathPrefix="/irsa/"), lambda r: ("" if [x["RoleName"] for x in r["Roles"]] == ["app"] else "!!") + str([x["RoleName"] for x in r["Roles"]]))
ck("SimulatePrincipalPolicy", "OK", call(iam.simulate_principal_policy, PolicySourceArn=f"arn:aws:iam::{acct}:role/irsa/app", ActionNames=["s3:GetObject", "s3:PutObject"]), lambda r: str([(e["EvalActionName"], e["EvalDecision"]) for e in r["EvaluationResults"]]))
# --- web identity
def b64(x): return base64.urlsafe_b64encode(json.dumps(x).encode()).rstrip(b"=").decode()
def jwt(**c):
    d = {"iss": ISS, "aud": ["sts.amazonaws.com"], "sub": "system:serviceaccount:team:app", "iat": int(time.time()), "exp": int(time.time()) + 3600}; d.update(c)
    return b64({"alg": "RS256", "kid": "x"}) + "." + b64(d) + "." + base64.urlsafe_b64encode(b"x" * 256).rstrip(b"=").decode()
anon = boto3.client("sts", endpoint_url=EP, region_name=REGION, verify=False, config=cfg.merge(Config(signature_version=botocore.UNSIGNED)))
arn = f"arn:aws:iam::{acct}:role/irsa/app"
W = lambda t, a=arn: call(anon.assume_role_with_web_identity, RoleArn=a, RoleSessionName="sess", WebIdentityToken=t)
show = lambda r: r["AssumedRoleUser"]["Arn"] + " sub=%s aud=%s prov=%s" % (r.get("SubjectFromWebIdentityToken"), r.get("Audience"), (r.get("Provider") or "")[:30])
if TOKEN: ck("AssumeRoleWithWebIdentity real token", "OK", W(TOKEN), show)
ck("AssumeRoleWithWebIdentity good claims, forged signature", "InvalidIdentityToken", W(jwt()), show)
ck("  wrong sub", "AccessDenied", W(jwt(sub="system:serviceaccount:team:evil")), show)
ck("  wrong aud", "InvalidIdentityToken|AccessDenied", W(jwt(aud=["kubernetes"])), show)
ck("  unknown issuer", "InvalidIdentityToken", W(jwt(iss="https://evil.example.com")), show)
ck("  expired", "ExpiredTokenException", W(jwt(exp=int(time.time()) - 3600)), show)
ck("  garbage token", "InvalidIdentityToken|ValidationError", W("garbage-token"), show)
ck("  missing role", "AccessDenied", W(jwt(), f"arn:aws:iam::{acct}:role/none"), show)
r = W(TOKEN or jwt())
if r[0] == "OK":
    c = r[1]["Credentials"]
    ck("GetCallerIdentity as web-identity session", "OK", call(cl("sts", c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"]).get_caller_identity), lambda r: ("" if "assumed-role/app/sess" in r["Arn"] else "!!") + r["Arn"])
# --- delete
for p in pol + [RO]: call(iam.detach_role_policy, RoleName="app", PolicyArn=p)
ck("DeleteRole with inline policy", "DeleteConflict", call(iam.delete_role, RoleName="app"))
for n in ("inl","big","bad"): call(iam.delete_role_policy, RoleName="app", PolicyName=n)
ck("DeleteRole", "OK", call(iam.delete_role, RoleName="app"))
ck("DeleteRole missing", "NoSuchEntity", call(iam.delete_role, RoleName="app"))
ck("DeleteOIDC", "OK", call(iam.delete_open_id_connect_provider, OpenIDConnectProviderArn=parn))
# --- EKS
ck("EKS DescribeCluster missing", "ResourceNotFoundException", call(eks.describe_cluster, name="none"))
r = ck("EKS CreateCluster", "OK", call(eks.create_cluster, name="c1", roleArn=f"arn:aws:iam::{acct}:role/eks", resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"]}, version="1.33"))
ck("EKS DescribeCluster", "OK", call(eks.describe_cluster, name="c1"), lambda r: "%s issuer=%s ep=%s" % (r["cluster"].get("status"), r["cluster"].get("identity", {}).get("oidc", {}).get("issuer", "!!none"), str(r["cluster"].get("endpoint"))[:40]))
call(iam.create_role, RoleName="pia", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}')
r = ck("EKS CreatePodIdentityAssociation", "OK", call(eks.create_pod_identity_association, clusterName="c1", namespace="team", serviceAccount="app", roleArn=f"arn:aws:iam::{acct}:role/pia"), lambda r: r["association"]["associationId"])
ck("EKS CreatePodIdentityAssociation dup", "ResourceInUseException", call(eks.create_pod_identity_association, clusterName="c1", namespace="team", serviceAccount="app", roleArn=f"arn:aws:iam::{acct}:role/pia"))
ck("EKS ListPodIdentityAssociations", "OK", call(eks.list_pod_identity_associations, clusterName="c1", namespace="team", serviceAccount="app"), lambda r: str(len(r["associations"])))
# --- identity enforcement
call(iam.create_user, UserName="low"); k = call(iam.create_access_key, UserName="low")
if k[0] == "OK":
    ak, sk = k[1]["AccessKey"]["AccessKeyId"], k[1]["AccessKey"]["SecretAccessKey"]
    ck("GetCallerIdentity as user", "OK", call(cl("sts", ak, sk).get_caller_identity), lambda r: ("" if r["Arn"].endswith("user/low") else "!!") + r["Arn"])
    ck("IAM enforcement: user without policy ListRoles", "AccessDenied", call(cl("iam", ak, sk).list_roles), lambda r: "allowed")
    call(iam.put_user_policy, UserName="low", PolicyName="x", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}]}))
    ck("  with iam:ListRoles: ListRoles", "OK", call(cl("iam", ak, sk).list_roles))
    ck("  with iam:ListRoles: CreateRole", "AccessDenied", call(cl("iam", ak, sk).create_role, RoleName="zz", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":"sts:AssumeRole"}]}'), lambda r: "allowed")
    ck("SigV4 wrong secret", "SignatureDoesNotMatch", call(cl("iam", ak, "wrong" + sk[5:]).list_roles), lambda r: "accepted")
ck("SigV4 unknown key", "InvalidClientTokenId", call(cl("iam", "AKIAIOSFODNN7EXAMPLE", "abc").list_roles), lambda r: "accepted")
good = sum(1 for r in rows if r[3]); print(f"\n{good}/{len(rows)} as AWS")
