#!/usr/bin/env bash
# The first process of the cluster's namespaces: makes the node's file system, network and certificates, starts the
# parts, installs the product, and runs the cases or a shell. When it ends, all of it does.
#
# The node's root is a tmpfs: the machine's programs read-only, everything else new.
set -euo pipefail
trap 'echo "the node: line $LINENO failed" >&2' ERR
: "${home:?}" "${test:?}" "${work:?}"
# shellcheck source=script/tools.sh
. script/tools.sh
project=$PWD
# shellcheck source=tests/cluster/parts.sh
. tests/cluster/parts.sh

begun=$(date +%s%N)
say() { printf '%5d ms  %s\n' "$((($(date +%s%N) - begun) / 1000000))" "$*"; }

make_root() {
    local root=$home/root name file
    mount --make-rprivate /
    mkdir "$root"
    mount -t tmpfs -o mode=755 node "$root"
    mkdir -p "$root"/{etc,var/lib,var/log/pods,var/run,run,tmp,root,proc,sys,dev,old,opt/node,logs} "$root$project" "$root$tools"
    for name in usr bin sbin lib lib32 lib64; do
        if [ -L "/$name" ]; then
            cp -a "/$name" "$root/$name"
        elif [ -d "/$name" ]; then
            mkdir "$root/$name"
            mount --bind -o ro "/$name" "$root/$name"
        fi
    done
    for name in passwd group nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives protocols services ssl; do
        [ ! -e "/etc/$name" ] || cp -a "/etc/$name" "$root/etc/"
    done
    rmdir "$root/var/run"
    ln -s ../run "$root/var/run"
    mount --bind -o ro "$project" "$root$project"
    mount --bind -o ro "$tools" "$root$tools"
    mount --bind "$work/logs" "$root/logs"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs shm "$root/dev/shm"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    # Settings of the whole machine are out of reach; those of the network are the namespace's. What the kubelet wants
    # to find set it finds, in files of its own.
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount --bind "$root/proc/sys/net" "$root/proc/sys/net" && mount -o remount,bind,rw "$root/proc/sys/net"
    while read -r name file; do
        echo "$file" >"$home/${name//\//.}"
        mount --bind "$home/${name//\//.}" "$root/proc/sys/$name"
    done <<'WANTED'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
WANTED
    # The hierarchies as this namespace sees them: their roots are the cluster's own cgroups.
    mount -t tmpfs -o mode=755 cgroup "$root/sys/fs/cgroup"
    awk '$3 == "cgroup" || $3 == "cgroup2" { print $2, $3, $4 }' /proc/mounts | while read -r folder type options; do
        case $folder in /sys/fs/cgroup/*) ;; *) continue ;; esac
        options=$(tr ',' '\n' <<<"$options" | sed -E '/^(rw|ro|relatime|nosuid|nodev|noexec|nsdelegate|memory_recursiveprot|xattr|release_agent=.*)$/d' | paste -sd,)
        mkdir -p "$root$folder"
        mount -t "$type" ${options:+-o "$options"} "$type" "$root$folder"
    done
    cd "$root"
    pivot_root . old
    umount -l /old
    cd "$project"
    for name in /var/lib/containerd /var/lib/kubelet; do
        mkdir -p "$name"
        mount -t tmpfs tmpfs "$name"
    done
    mount --make-rshared /var/lib/kubelet
    echo 'nameserver 192.0.2.53' >/etc/resolv.conf # nobody
    printf "127.0.0.1 localhost\n192.168.77.10 node-a\n" >/etc/hosts
    export HOME=/root TMPDIR=/tmp PATH=/opt/node:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

link_programs() {
    local program
    for program in "$tools"/*-v[0-9]*; do ln -s "$program" "/opt/node/$(basename "${program%-v[0-9]*}")"; done
    [ ! -x "$project/target/tools/helm" ] || ln -sf "$project/target/tools/helm" /opt/node/helm
}

# The node, and beyond its one wire the world: its gateway, and behind that an address that is nobody's of the cluster.
make_network() {
    hostname node-a
    ip link set lo up
    unshare --net sleep infinity &
    outside=$!
    until [ "$(readlink "/proc/$outside/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
    echo "$outside" >/run/outside
    ip link add eth0 type veth peer name node netns "$outside"
    ip link set eth0 up
    ip address add 192.168.77.10/24 dev eth0
    ip address add fd00:77::10/64 dev eth0 nodad
    world() { nsenter --target "$outside" --net "$@"; }
    world ip link set lo up
    world ip link set node up
    world ip address add 192.168.77.1/24 dev node
    world ip address add fd00:77::1/64 dev node nodad
    world ip address add 198.51.100.7/32 dev lo
    world ip address add 2001:db8::7/128 dev lo nodad
    # Whatever the world asks of the node it asks with its outside address.
    world ip route add 192.168.77.10/32 dev node src 198.51.100.7
    world ip route add 192.0.2.0/24 via 192.168.77.10 src 198.51.100.7 # external addresses of services
    world ip -6 route add fd00:77::10/128 dev node src 2001:db8::7
    ip route add default via 192.168.77.1
    ip -6 route add default via fd00:77::1
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}

import_images() {
    local archive
    for archive in "$work"/images/*.tar; do
        ctr --namespace k8s.io images import --local "$archive" >>/logs/import.log 2>&1
    done
}

# until_true SECONDS WHAT COMMAND...
until_true() {
    local seconds=$1 what=$2
    shift 2
    for _ in $(seq "$((seconds * 10))"); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "not within ${seconds}s: $what" >&2
    "$@" || true
    return 1
}

rm -f "$work"/logs/*.log
make_root
link_programs
make_network
write_settings
say "namespaces"
for part in etcd containerd; do start "$part"; done
start kube-apiserver
until_true 60 "containerd answers" ctr version
import_images
say "images"
until_true 120 "the API server is ready" kubectl get --raw /readyz
say "API server"
for part in kube-controller-manager kube-scheduler kubelet kube-proxy; do start "$part"; done
kubectl apply --filename tests/cluster/dns.yaml --filename tests/cluster/dakr.yaml >/logs/apply.log
[ -x "$tools/coredns-v$coredns" ] || kubectl delete --filename tests/cluster/dns.yaml --wait=false >/dev/null
until_true 120 "the node is ready" kubectl wait --for=condition=Ready node/node-a --timeout=1s
say "node"
until_true 120 "DNS and DAKR run" kubectl wait --for=condition=Available deployment --all --all-namespaces --timeout=1s
say "DNS and DAKR"
export HELM_NAMESPACE=devzero-system
helm install netmon chart --values tests/cluster/values.yaml --wait --timeout 120s >/logs/helm.log
# helm lets a tenth of the nodes be missing, and of one node that is all.
kubectl --namespace "$HELM_NAMESPACE" rollout status daemonset/netmon-zxporter-netmon --timeout 120s >>/logs/helm.log
say "green"

status=0
if [ "${1:-}" = shell ]; then
    bash --norc -i || status=$?
else
    CLUSTER_INSIDE=1 "$test" "$@" || status=$?
fi
exit "$status"
