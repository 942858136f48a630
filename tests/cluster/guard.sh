#!/usr/bin/env bash
# Waits until whoever holds the other end of its standard input is gone, then ends the cluster and removes what it left.
#
#   guard.sh FOLDER CGROUP <FIFO
set -uo pipefail
trap '' INT TERM HUP
cat >/dev/null
here=$(dirname "$0")
"$here/cgroups.sh" kill "$2" # with the first process of the namespaces go all others
"$here/cgroups.sh" remove "$2"
rm -rf --one-file-system "$1"
