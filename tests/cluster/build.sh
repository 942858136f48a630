#!/usr/bin/env bash
# Builds the programs of a cluster from their Go modules, those that are not there yet. From nothing it takes two
# processors half an hour or more; script/apiserver needs the first two as well.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=script/tools.sh
. script/tools.sh

made=()
trap 'rm -rf "${made[@]}"' EXIT
folder=$(kubernetes_module)
made+=("$folder")
go_build "$folder" "etcd-v$etcd" go.etcd.io/etcd/server/v3
go_build "$folder" "kube-apiserver-v$kubernetes" k8s.io/kubernetes/cmd/kube-apiserver
for program in kubelet kube-proxy kube-scheduler kube-controller-manager kubectl; do
    go_build "$folder" "$program-v$kubernetes" "k8s.io/kubernetes/cmd/$program"
done
folder=$(go_module containerd "github.com/containerd/containerd/v2@$containerd")
made+=("$folder")
for program in containerd containerd-shim-runc-v2 ctr; do
    go_build "$folder" "$program-v$containerd" "github.com/containerd/containerd/v2/cmd/$program"
done
folder=$(go_module coredns "github.com/coredns/coredns@$coredns")
made+=("$folder")
cp tests/cluster/coredns.go "$folder"
go_build "$folder" "coredns-v$coredns" .
