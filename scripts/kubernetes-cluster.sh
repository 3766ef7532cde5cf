#!/bin/bash
# A real Kubernetes control plane for tests, on one machine: etcd, kube-apiserver, kube-controller-manager and
# kube-scheduler on free loopback ports, all below one folder, with an authority, certificates and keys of their own.
# Kubelets are not part of it (tests/real_kubernetes has a stand-in). What scripts/kubernetes-build.sh installs and builds
# is needed; root is not.
#
#   kubernetes-cluster.sh up ROOT [NAMESPACE=physlab-test]   start it; ROOT must not exist or be empty
#   kubernetes-cluster.sh down ROOT                          end everything that `up` started, and remove ROOT
#   kubernetes-cluster.sh stop-server ROOT                   end kube-apiserver alone
#   kubernetes-cluster.sh start-server ROOT                  start it (anew)
#   kubernetes-cluster.sh hold ROOT                          stop controllers and scheduler where they stand
#   kubernetes-cluster.sh release ROOT                       let them go on
#   kubernetes-cluster.sh compact ROOT REVISION              have etcd forget what is older
#   kubernetes-cluster.sh sign ROOT NAME SUBJECT [ADDRESS]   a certificate ROOT/pki/NAME.{crt,key}
#
# `up` leaves ROOT/kubeconfig (a service account of NAMESPACE with the rights that docs/kubernetes.md asks for, no more),
# ROOT/admin.kubeconfig, and ROOT/settings.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
here=$(cd "$(dirname "$0")" && pwd)
umask 077

say() { printf '%s\n' "$*" >&2; }

use() { # the settings that `up` wrote down
  root=$1
  [ -r "$root/settings" ] || { say "There is no cluster in $root."; exit 1; }
  # shellcheck disable=SC1091
  . "$root/settings"
}

free_ports() { # COUNT: below the range from which clients get theirs
  python3 - "$1" <<'PY'
import random, socket, sys
held = []
for port in random.sample(range(20000, 32000), 12000):
    probe = socket.socket()
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        continue
    held.append((port, probe))
    if len(held) == int(sys.argv[1]):
        break
print(*(port for port, _ in held))
PY
}

wait_for() { # SECONDS PROGRAM COMMAND...: until the command succeeds
  local tries=$(($1 * 20)) program=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ $tries -le 0 ] || ! alive "$program"; then
      say "$program did not come up:"
      tail -n 20 "$root/log/$program.log" >&2
      exit 1
    fi
    sleep 0.05
  done
}

alive() { # PROGRAM: whether the process that we wrote down is there and still ours
  local pid
  pid=$(cat "$root/run/$1.pid" 2>/dev/null) || return 1
  [ "${pid:-0}" -gt 1 ] && grep -qsF -- "$root" "/proc/$pid/cmdline"
}

start() { # PROGRAM PATH OPTIONS...
  local name=$1
  shift
  setsid "$@" >>"$root/log/$name.log" 2>&1 </dev/null &
  echo $! >"$root/run/$name.pid"
}

end() { # PROGRAM SIGNAL
  local tries=200 pid
  alive "$1" || return 0
  pid=$(cat "$root/run/$1.pid")
  kill "-$2" "$pid" 2>/dev/null || true
  while alive "$1"; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { kill -KILL "$pid" 2>/dev/null || true; break; }
    sleep 0.05
  done
  rm -f "$root/run/$1.pid"
}

# -- keys -----------------------------------------------------------------------------------------------------------

authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=physlab-test-authority \
    -keyout "$root/pki/ca.key" -out "$root/pki/ca.crt" 2>/dev/null
  openssl ecparam -name prime256v1 -genkey -noout -out "$root/pki/accounts.key"
  openssl ec -in "$root/pki/accounts.key" -pubout -out "$root/pki/accounts.pub" 2>/dev/null
}

sign() { # NAME SUBJECT [ADDRESS]
  local place=$root/pki/$1
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$place.key" \
    -out "$place.csr" 2>/dev/null
  {
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=clientAuth,serverAuth"
    [ -z "${3:-}" ] || echo "subjectAltName=IP:$3,DNS:localhost"
  } >"$place.ext"
  openssl x509 -req -in "$place.csr" -CA "$root/pki/ca.crt" -CAkey "$root/pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
    -days 2 -extfile "$place.ext" -out "$place.crt" 2>/dev/null
  rm -f "$place.csr" "$place.ext"
}

kubeconfig() { # FILE NAMESPACE USER: the JSON of the user's credentials
  jq -n --arg server "https://127.0.0.1:$server_port" --arg ca "$root/pki/ca.crt" --arg space "$2" --argjson user "$3" '{
    apiVersion: "v1", kind: "Config", "current-context": "test",
    clusters: [{name: "test", cluster: {server: $server, "certificate-authority": $ca}}],
    users: [{name: "test", user: $user}],
    contexts: [{name: "test", context: {cluster: "test", user: "test", namespace: $space}}]}' >"$1"
}

by_certificate() { # NAME
  jq -n --arg place "$root/pki/$1" '{"client-certificate": ($place + ".crt"), "client-key": ($place + ".key")}'
}

# -- programs -------------------------------------------------------------------------------------------------------

start_etcd() {
  local client=https://127.0.0.1:$etcd_port peer=https://127.0.0.1:$peer_port tls
  tls=(--cert-file "$root/pki/etcd.crt" --key-file "$root/pki/etcd.key" --trusted-ca-file "$root/pki/ca.crt"
    --client-cert-auth --peer-cert-file "$root/pki/etcd.crt" --peer-key-file "$root/pki/etcd.key"
    --peer-trusted-ca-file "$root/pki/ca.crt" --peer-client-cert-auth)
  # What it promises about power losses is of no use here, and waiting for the disk is what takes its time.
  start etcd etcd --data-dir "$root/etcd" --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" \
    --unsafe-no-fsync --log-level warn "${tls[@]}"
  wait_for 30 etcd ask_etcd /health
}

ask_etcd() { # PATH [OPTIONS...]
  local path=$1
  shift
  curl -sSf --max-time 10 --cacert "$root/pki/ca.crt" --cert "$root/pki/etcd.crt" --key "$root/pki/etcd.key" \
    "https://127.0.0.1:$etcd_port$path" "$@"
}

start_server() {
  # A node that is silent puts its pods out after 2 s in the place of 300 s.
  start apiserver "$programs/kube-apiserver" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 \
    --secure-port="$server_port" --tls-cert-file="$root/pki/server.crt" --tls-private-key-file="$root/pki/server.key" \
    --client-ca-file="$root/pki/ca.crt" --authorization-mode=RBAC --anonymous-auth=false --allow-privileged=false \
    --etcd-servers="https://127.0.0.1:$etcd_port" --etcd-cafile="$root/pki/ca.crt" \
    --etcd-certfile="$root/pki/etcd.crt" --etcd-keyfile="$root/pki/etcd.key" \
    --kubelet-certificate-authority="$root/pki/ca.crt" --kubelet-client-certificate="$root/pki/server.crt" \
    --kubelet-client-key="$root/pki/server.key" --kubelet-preferred-address-types=InternalIP \
    --service-account-key-file="$root/pki/accounts.pub" --service-account-signing-key-file="$root/pki/accounts.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.0.0.0/24 \
    --endpoint-reconciler-type=none --cert-dir="$root/pki" --watch-cache=true \
    --default-not-ready-toleration-seconds=2 --default-unreachable-toleration-seconds=2
  wait_for 120 apiserver ready
}

ready() { [ "$(ask GET /readyz)" = ok ]; }

ask() { # METHOD PATH [JSON]
  curl -sS --fail-with-body --max-time 10 -X "$1" --cacert "$root/pki/ca.crt" --cert "$root/pki/admin.crt" --key "$root/pki/admin.key" \
    -H 'Content-Type: application/json' "https://127.0.0.1:$server_port$2" ${3:+--data-binary "$3"}
}

start_controllers() {
  # A node counts as lost after 8 s in the place of 40 s.
  start controllers "$programs/kube-controller-manager" --kubeconfig="$root/pki/controllers.kubeconfig" \
    --authentication-kubeconfig="$root/pki/controllers.kubeconfig" \
    --authorization-kubeconfig="$root/pki/controllers.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 \
    --port=0 --secure-port="$controllers_port" --cert-dir="$root/pki/controllers" --root-ca-file="$root/pki/ca.crt" \
    --service-account-private-key-file="$root/pki/accounts.key" --use-service-account-credentials=true \
    --kube-api-qps=200 --kube-api-burst=400 --concurrent-gc-syncs=20 \
    --node-monitor-period=1s --node-monitor-grace-period=8s --pvclaimbinder-sync-period=1s
  start scheduler "$programs/kube-scheduler" --kubeconfig="$root/pki/scheduler.kubeconfig" \
    --authentication-kubeconfig="$root/pki/scheduler.kubeconfig" \
    --authorization-kubeconfig="$root/pki/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 \
    --port=0 --secure-port="$scheduler_port" --cert-dir="$root/pki/scheduler" --kube-api-qps=200 --kube-api-burst=400
}

# -- what is in it --------------------------------------------------------------------------------------------------

rights() { # the Role of docs/kubernetes.md
  jq -n '[
    {apiGroups: ["batch"], resources: ["jobs"], verbs: ["create", "get", "list", "watch", "patch", "delete"]},
    {apiGroups: [""], resources: ["pods"], verbs: ["list", "watch", "delete"]},
    {apiGroups: [""], resources: ["pods/log"], verbs: ["get"]},
    {apiGroups: [""], resources: ["configmaps"], verbs: ["create", "get", "patch", "delete"]},
    {apiGroups: [""], resources: ["secrets"], verbs: ["create", "get", "patch"]},
    {apiGroups: [""], resources: ["events"], verbs: ["list"]}]'
}

furnish() {
  local groups=/apis/rbac.authorization.k8s.io/v1 space=/api/v1/namespaces/$namespace token
  ask POST /api/v1/namespaces "$(jq -n --arg name "$namespace" '{metadata: {name: $name}}')"
  ask POST "$space/serviceaccounts" '{"metadata": {"name": "physlab"}}'
  ask POST "$groups/namespaces/$namespace/roles" "$(jq -n --argjson rules "$(rights)" \
    '{metadata: {name: "physlab"}, rules: $rules}')"
  ask POST "$groups/namespaces/$namespace/rolebindings" "$(jq -n --arg space "$namespace" '{metadata: {name: "physlab"},
    roleRef: {apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "physlab"},
    subjects: [{kind: "ServiceAccount", name: "physlab", namespace: $space}]}')"
  ask POST "$groups/clusterroles" "$(jq -n '{metadata: {name: "physlab-nodes"}, rules: [
    {apiGroups: [""], resources: ["nodes"], verbs: ["list"]}]}')"
  ask POST "$groups/clusterrolebindings" "$(jq -n --arg space "$namespace" '{metadata: {name: "physlab-nodes"},
    roleRef: {apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "physlab-nodes"},
    subjects: [{kind: "ServiceAccount", name: "physlab", namespace: $space}]}')"
  # What a kubelet may do; which node may see what is not told apart.
  ask POST "$groups/clusterroles" "$(jq -n '{metadata: {name: "stand-in"}, rules: [
    {apiGroups: [""], resources: ["nodes", "nodes/status"], verbs: ["create", "get", "patch", "update"]},
    {apiGroups: [""], resources: ["pods", "pods/status"], verbs: ["get", "list", "watch", "patch", "delete"]},
    {apiGroups: [""], resources: ["configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes"],
     verbs: ["get", "list", "watch"]},
    {apiGroups: [""], resources: ["events"], verbs: ["create", "patch"]},
    {apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create", "get", "update"]}]}')"
  ask POST "$groups/clusterrolebindings" "$(jq -n '{metadata: {name: "stand-in"},
    roleRef: {apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "stand-in"},
    subjects: [{kind: "Group", apiGroup: "rbac.authorization.k8s.io", name: "system:nodes"}]}')"
  wait_for 60 controllers ask GET "$space/serviceaccounts/default"
  token=$(ask POST "$space/serviceaccounts/physlab/token" '{"spec": {"expirationSeconds": 86400}}' | jq -r .status.token)
  kubeconfig "$root/kubeconfig" "$namespace" "$(jq -n --arg token "$token" '{token: $token}')"
}

up() {
  programs=$("$here/kubernetes-build.sh" where) || { say "Run scripts/kubernetes-build.sh first."; exit 1; }
  for word in etcd openssl jq curl python3; do
    command -v "$word" >/dev/null || { say "$word is missing; scripts/kubernetes-build.sh installs it."; exit 1; }
  done
  mkdir -p "$root"
  [ -z "$(ls -A "$root")" ] || { say "$root is not empty."; exit 1; }
  mkdir "$root/pki" "$root/log" "$root/run"
  read -r etcd_port peer_port server_port controllers_port scheduler_port <<<"$(free_ports 5)"
  for word in programs namespace etcd_port peer_port server_port controllers_port scheduler_port; do
    printf '%s=%q\n' "$word" "${!word}"
  done >"$root/settings"
  trap down EXIT
  trap 'exit 1' INT TERM HUP
  authority
  sign etcd /CN=etcd 127.0.0.1
  sign server /O=system:masters/CN=kube-apiserver 127.0.0.1
  sign admin /O=system:masters/CN=admin
  sign controllers /CN=system:kube-controller-manager
  sign scheduler /CN=system:kube-scheduler
  kubeconfig "$root/admin.kubeconfig" "$namespace" "$(by_certificate admin)"
  kubeconfig "$root/pki/controllers.kubeconfig" default "$(by_certificate controllers)"
  kubeconfig "$root/pki/scheduler.kubeconfig" default "$(by_certificate scheduler)"
  start_etcd
  start_server
  start_controllers
  furnish >/dev/null
  trap - EXIT INT TERM HUP
}

down() {
  # Nothing that is in etcd will be read again, so nobody is given time to write it down.
  end scheduler KILL
  end controllers KILL
  end apiserver KILL
  end etcd KILL
  rm -rf "$root"
}

[ $# -ge 2 ] || { sed -n '2,19p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
verb=$1
case $verb in
  up)
    case $2 in /*) root=$2 ;; *) root=$PWD/$2 ;; esac
    namespace=${3:-physlab-test}
    up
    ;;
  down)
    [ -e "$2" ] || exit 0
    use "$2"
    down
    ;;
  stop-server) use "$2"; end apiserver KILL ;;
  start-server) use "$2"; end apiserver KILL; start_server ;;
  hold) use "$2"; for word in controllers scheduler; do kill -STOP "$(cat "$root/run/$word.pid")"; done ;;
  release) use "$2"; for word in controllers scheduler; do kill -CONT "$(cat "$root/run/$word.pid")"; done ;;
  compact) use "$2"; ask_etcd /v3/kv/compaction --data-binary "{\"revision\": \"$3\", \"physical\": true}" ;;
  sign) use "$2"; sign "$3" "$4" "${5:-}" ;;
  *) say "Not a verb: $verb"; exit 2 ;;
esac
