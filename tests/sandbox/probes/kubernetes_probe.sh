#!/usr/bin/env bash
# Fidelity probe of a Kubernetes API server: kubernetes_probe.sh BASE_URL ADMIN_TOKEN UNPRIVILEGED_TOKEN
# Compare its output with kubernetes_probe.expected.txt, the answers of a real kube-apiserver v1.36.2 (RBAC on, no admission webhooks).
B=$1; A="Authorization: Bearer $2"; N="Authorization: Bearer $3"; C="curl -sk -m 20"
j() { python3 -c "
import sys,json
t=sys.stdin.read()
try:
  d=json.loads(t)
  for o in [d]:
    pass
  print(json.dumps(d,indent=None)[:${1:-900}])
except Exception as e: print(t[:400])"; }
say() { echo; echo "### $*"; }
say version; $C -H "$A" $B/version | j 300
say openid-config admin; $C -H "$A" $B/.well-known/openid-configuration; echo; $C -H "$A" $B/openid/v1/jwks | j 300
say openid-config anonymous / nobody; $C -o /dev/null -w '%{http_code}\n' $B/.well-known/openid-configuration; $C -o /dev/null -w '%{http_code}\n' -H "$N" $B/.well-known/openid-configuration
say bad token; $C -w ' %{http_code}\n' -H "Authorization: Bearer zzz" $B/api/v1/namespaces | tail -c 300
say rbac 403; $C -w ' %{http_code}\n' -H "$N" $B/api/v1/namespaces/default/serviceaccounts/x
say SSA into missing ns; $C -w ' %{http_code}\n' -X PATCH -H "$A" -H 'Content-Type: application/apply-patch+yaml' "$B/api/v1/namespaces/nope/serviceaccounts/app?fieldManager=irsa" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app","annotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::1:role/a"}}}'
say get missing SA; $C -w ' %{http_code}\n' -H "$A" $B/api/v1/namespaces/default/serviceaccounts/app
say create ns; $C -o /dev/null -w '%{http_code}\n' -X POST -H "$A" -H 'Content-Type: application/json' $B/api/v1/namespaces -d '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"team"}}'
say SSA dry-run; $C -w ' %{http_code}\n' -X PATCH -H "$A" -H 'Content-Type: application/apply-patch+yaml' "$B/api/v1/namespaces/team/serviceaccounts/app?fieldManager=irsa&dryRun=All" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app","annotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::1:role/a"}}}'; echo -n 'after: '; $C -o /dev/null -w '%{http_code}\n' -H "$A" $B/api/v1/namespaces/team/serviceaccounts/app
say SSA create; $C -w ' %{http_code}\n' -X PATCH -H "$A" -H 'Content-Type: application/apply-patch+yaml' "$B/api/v1/namespaces/team/serviceaccounts/app?fieldManager=irsa" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app","annotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::1:role/a"}}}'
say SSA again no-op rv; $C -X PATCH -H "$A" -H 'Content-Type: application/apply-patch+yaml' "$B/api/v1/namespaces/team/serviceaccounts/app?fieldManager=irsa" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app","annotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::1:role/a"}}}' | python3 -c 'import sys,json; d=json.load(sys.stdin); print(d["metadata"]["resourceVersion"], len(d["metadata"].get("managedFields",[])))'
say SSA other manager same field conflict; $C -w ' %{http_code}\n' -X PATCH -H "$A" -H 'Content-Type: application/apply-patch+yaml' "$B/api/v1/namespaces/team/serviceaccounts/app?fieldManager=helm" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app","annotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::1:role/OTHER"}}}'
say SSA force; $C -X PATCH -H "$A" -H 'Content-Type: application/apply-patch+yaml' "$B/api/v1/namespaces/team/serviceaccounts/app?fieldManager=helm&force=true" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app","annotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::1:role/OTHER"}}}' | python3 -c 'import sys,json; d=json.load(sys.stdin); print(json.dumps(d["metadata"].get("annotations")), json.dumps([(m["manager"],m["operation"]) for m in d["metadata"].get("managedFields",[])]))'
say SSA removes field no longer applied; $C -X PATCH -H "$A" -H 'Content-Type: application/apply-patch+yaml' "$B/api/v1/namespaces/team/serviceaccounts/app?fieldManager=helm&force=true" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app"}}' | python3 -c 'import sys,json; d=json.load(sys.stdin); print(json.dumps(d["metadata"].get("annotations")), json.dumps([(m["manager"],m["operation"]) for m in d["metadata"].get("managedFields",[])]))'
say SSA no fieldManager; $C -w ' %{http_code}\n' -X PATCH -H "$A" -H 'Content-Type: application/apply-patch+yaml' "$B/api/v1/namespaces/team/serviceaccounts/app" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app"}}' | tail -c 400
say SSA name mismatch; $C -w ' %{http_code}\n' -X PATCH -H "$A" -H 'Content-Type: application/apply-patch+yaml' "$B/api/v1/namespaces/team/serviceaccounts/app?fieldManager=irsa" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"appZ"}}' | tail -c 300
say TokenRequest aud sts; $C -w ' %{http_code}\n' -X POST -H "$A" -H 'Content-Type: application/json' $B/api/v1/namespaces/team/serviceaccounts/app/token -d '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["sts.amazonaws.com"],"expirationSeconds":3600}}' | python3 -c 'import sys,re,base64,json; t=sys.stdin.read(); m=re.search(r"\"token\":\s*\"([^\"]+)\"",t); print(t[-5:]); 
h,p,s=m.group(1).split("."); d=lambda x: base64.urlsafe_b64decode(x+"="*(-len(x)%4)).decode(); print(d(h)); print(d(p))'
say TokenRequest too short; $C -w ' %{http_code}\n' -X POST -H "$A" -H 'Content-Type: application/json' $B/api/v1/namespaces/team/serviceaccounts/app/token -d '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["sts.amazonaws.com"],"expirationSeconds":60}}' | tail -c 300
say TokenRequest missing SA; $C -w ' %{http_code}\n' -X POST -H "$A" -H 'Content-Type: application/json' $B/api/v1/namespaces/team/serviceaccounts/none/token -d '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["sts.amazonaws.com"]}}' | tail -c 300
say TokenRequest nobody; $C -w ' %{http_code}\n' -X POST -H "$N" -H 'Content-Type: application/json' $B/api/v1/namespaces/team/serviceaccounts/app/token -d '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["sts.amazonaws.com"]}}' | tail -c 300
say Lease create + stale update; RV=$($C -X POST -H "$A" -H 'Content-Type: application/json' $B/apis/coordination.k8s.io/v1/namespaces/team/leases -d '{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l"},"spec":{"holderIdentity":"a","leaseDurationSeconds":15}}' | python3 -c 'import sys,json; print(json.load(sys.stdin)["metadata"]["resourceVersion"])'); echo rv=$RV
U() { $C -w ' %{http_code}\n' -X PUT -H "$A" -H 'Content-Type: application/json' $B/apis/coordination.k8s.io/v1/namespaces/team/leases/l -d '{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l","resourceVersion":"'$RV'"},"spec":{"holderIdentity":"'$1'","leaseDurationSeconds":15}}' | tail -c 420; }
U b | tail -c 5; U c
say Lease create exists; $C -w ' %{http_code}\n' -X POST -H "$A" -H 'Content-Type: application/json' $B/apis/coordination.k8s.io/v1/namespaces/team/leases -d '{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l"}}' | tail -c 300
say invalid name 422; $C -w ' %{http_code}\n' -X POST -H "$A" -H 'Content-Type: application/json' $B/api/v1/namespaces/team/serviceaccounts -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"Bad_Name"}}' | tail -c 500
say strict field validation; $C -w ' %{http_code}\n' -X POST -H "$A" -H 'Content-Type: application/json' "$B/api/v1/namespaces/team/serviceaccounts?fieldValidation=Strict" -d '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"ok"},"bogus":1}' | tail -c 300
say merge patch + managedFields; $C -X PATCH -H "$A" -H 'Content-Type: application/merge-patch+json' "$B/api/v1/namespaces/team/serviceaccounts/app?fieldManager=kubectl-annotate" -d '{"metadata":{"annotations":{"x":"y"}}}' | python3 -c 'import sys,json; d=json.load(sys.stdin); print(json.dumps([(m["manager"],m["operation"]) for m in d["metadata"].get("managedFields",[])]))'
say SelfSubjectAccessReview nobody; $C -X POST -H "$N" -H 'Content-Type: application/json' $B/apis/authorization.k8s.io/v1/selfsubjectaccessreviews -d '{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"namespace":"team","verb":"patch","resource":"serviceaccounts"}}}' | python3 -c 'import sys,json; print(json.load(sys.stdin).get("status"))'
say delete precondition uid; $C -w ' %{http_code}\n' -X DELETE -H "$A" -H 'Content-Type: application/json' $B/api/v1/namespaces/team/serviceaccounts/app -d '{"preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}' | tail -c 300
say delete; $C -w ' %{http_code}\n' -X DELETE -H "$A" $B/api/v1/namespaces/team/serviceaccounts/app | tail -c 350
