#!/bin/bash
# What runc calls with a container's state once its first process is there: moves it into the cgroup of version 2 that has
# the path which the kubelet gave it, as on a host where version 2 is the only one. Here the controllers belong to
# version 1, and runc of today leaves a container's place in version 2 as it was.
set -eu
state=$(cat)
bundle=$(sed -n 's/.*"bundle":"\([^"]*\)".*/\1/p' <<<"$state")
pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' <<<"$state")
path=$(sed -n 's/.*"cgroupsPath":"\([^"]*\)".*/\1/p' "$bundle/config.json")
folder=/sys/fs/cgroup/unified$path
mkdir -p "$folder"
echo "$pid" >"$folder/cgroup.procs"
