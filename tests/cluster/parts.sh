#!/usr/bin/env bash
# The programs of the cluster: their settings, how each is started, and how it is ended. Sourced by node.sh; the cases
# call it:
#
#   parts.sh start PART | stop PART [SIGNAL] | proxy MODE
#
# A part's process id stands in /run/parts, its log in /logs.
set -euo pipefail
node=192.168.77.10

# kubeconfig NAME : of the user whose token has that name.
kubeconfig() {
    cat >"/etc/kubernetes/$1.conf" <<YAML
apiVersion: v1
kind: Config
current-context: node
contexts: [{name: node, context: {cluster: node, user: $1}}]
clusters: [{name: node, cluster: {server: "https://$node:6443", certificate-authority: /etc/kubernetes/ca.pem}}]
users: [{name: $1, user: {token: $1}}]
YAML
}

certificates() {
    local folder=/etc/kubernetes
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=cluster-ca \
        -keyout $folder/ca.key -out $folder/ca.pem 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kube-apiserver \
        -keyout $folder/server.key -out /tmp/server.csr 2>/dev/null
    openssl x509 -req -in /tmp/server.csr -CA $folder/ca.pem -CAkey $folder/ca.key -CAcreateserial -days 2 -out $folder/server.pem \
        -extfile <(echo "subjectAltName=DNS:kubernetes.default.svc,DNS:kubernetes.default,DNS:localhost,IP:10.96.0.1,IP:fd00:96::1,IP:$node,IP:127.0.0.1") 2>/dev/null
    openssl genrsa -out $folder/accounts.key 2048 2>/dev/null
}

write_settings() {
    mkdir -p /etc/kubernetes/manifests /etc/cni/net.d /etc/containerd /run/parts
    certificates
    cat >/etc/kubernetes/tokens <<'CSV'
admin,admin,1,system:masters
node,system:node:node-a,2,system:nodes
proxy,system:kube-proxy,3
CSV
    kubeconfig admin
    kubeconfig node
    kubeconfig proxy
    mkdir -p /root/.kube && cp /etc/kubernetes/admin.conf /root/.kube/config
    cat >/etc/containerd/config.toml <<'TOML'
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "cluster.test/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
base_runtime_spec = "/etc/containerd/base.json"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
TOML
    # runc fills the hierarchies of version 1 alone. The hook puts each container where a kernel of today has it, too.
    ctr oci spec | jq --arg hook "$PWD/tests/cluster/cgroup2-hook.sh" \
        '.hooks = {createRuntime: [{path: $hook, args: ["cgroup2-hook.sh"], env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]}' \
        >/etc/containerd/base.json
    cat >/etc/cni/net.d/10-cluster.conflist <<'JSON'
{
  "cniVersion": "1.0.0",
  "name": "cluster",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "hairpinMode": true, "ipMasq": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}], [{"subnet": "fd00:244::/64"}]]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
    cat >/etc/kubernetes/kubelet.yaml <<'YAML'
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
staticPodPath: /etc/kubernetes/manifests
fileCheckFrequency: 1s
syncFrequency: 10s
oomScoreAdj: 0
failSwapOn: false
evictionHard: {memory.available: 10Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
podLogsDir: /var/log/pods
resolvConf: /etc/resolv.conf
makeIPTablesUtilChains: true
cpuCFSQuota: true
nodeStatusUpdateFrequency: 2s
registerNode: true
maxPods: 200
YAML
    proxy "${KUBE_PROXY:-iptables}"
}

# proxy MODE : what kube-proxy is to be from its next start on.
proxy() {
    cat >/etc/kubernetes/proxy.yaml <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: /etc/kubernetes/proxy.conf}
mode: $1
hostnameOverride: node-a
clusterCIDR: 10.244.0.0/16,fd00:244::/64
oomScoreAdj: 0
iptables: {minSyncPeriod: 100ms}
nftables: {minSyncPeriod: 100ms}
conntrack: {maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}
YAML
}

# Becomes the part.
become() {
    local flags=()
    case $1 in
    etcd) flags=(--data-dir /var/lib/etcd --unsafe-no-fsync) ;;
    containerd) flags=(--config /etc/containerd/config.toml) ;;
    kube-apiserver)
        flags=(--etcd-servers http://127.0.0.1:2379 --secure-port 6443 --advertise-address "$node" --allow-privileged
            --tls-cert-file /etc/kubernetes/server.pem --tls-private-key-file /etc/kubernetes/server.key
            --service-account-issuer https://kubernetes.default.svc --token-auth-file /etc/kubernetes/tokens
            --service-account-key-file /etc/kubernetes/accounts.key
            --service-account-signing-key-file /etc/kubernetes/accounts.key
            --authorization-mode "Node,RBAC" --service-cluster-ip-range "10.96.0.0/16,fd00:96::/112")
        ;;
    kube-controller-manager)
        flags=(--kubeconfig /etc/kubernetes/admin.conf --service-account-private-key-file /etc/kubernetes/accounts.key
            --root-ca-file /etc/kubernetes/ca.pem --leader-elect=false --kube-api-qps 200 --kube-api-burst 400)
        ;;
    kube-scheduler) flags=(--kubeconfig /etc/kubernetes/admin.conf --leader-elect=false) ;;
    kubelet)
        flags=(--config /etc/kubernetes/kubelet.yaml --kubeconfig /etc/kubernetes/node.conf --hostname-override node-a
            --node-ip "$node,fd00:77::10" --cert-dir /var/lib/kubelet/pki)
        ;;
    kube-proxy) flags=(--config /etc/kubernetes/proxy.yaml) ;;
    *) echo "no part: $1" >&2; return 2 ;;
    esac
    exec setsid "$1" "${flags[@]}" </dev/null >>"/logs/$1.log" 2>&1
}

start() {
    become "$1" &
    echo $! >"/run/parts/$1"
    disown
}

stop() {
    local pid
    pid=$(cat "/run/parts/$1")
    kill "-${2:-TERM}" "$pid"
    while kill -0 "$pid" 2>/dev/null && [ "$(awk '{print $3}' "/proc/$pid/stat" 2>/dev/null)" != Z ]; do sleep 0.05; done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then "$@"; fi
