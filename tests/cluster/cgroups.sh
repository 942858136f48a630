#!/usr/bin/env bash
# The cluster's cgroup in every hierarchy of this machine, below the caller's own.
#
#   cgroups.sh make NAME | enter NAME PID | kill NAME | remove NAME
set -euo pipefail

# Folders of this process's cgroups, one a line: hierarchies of version 1 and the one of version 2.
own() {
    local controllers path mount
    while IFS=: read -r _ controllers path; do
        mount=$(awk -v wanted="$controllers" '
            wanted == "" && $3 == "cgroup2" { print $2; exit }
            wanted != "" && $3 == "cgroup" && index("," $4 ",", "," wanted ",") { print $2; exit }' /proc/mounts)
        [ -z "$mount" ] || echo "${mount}${path%/}"
    done </proc/self/cgroup
}

name=$2
case $1 in
make)
    own | while read -r folder; do
        mkdir "$folder/$name"
        [ ! -e "$folder/$name/cgroup.clone_children" ] || echo 1 >"$folder/$name/cgroup.clone_children"
        for file in cpuset.cpus cpuset.mems; do # empty in a new one, and nothing may run in it then
            [ ! -e "$folder/$name/cgroup.clone_children" ] || [ ! -e "$folder/$name/$file" ] ||
                cat "$folder/$file" >"$folder/$name/$file"
        done
    done
    ;;
enter) own | while read -r folder; do echo "$3" >"$folder/$name/cgroup.procs"; done ;;
kill)
    own | while read -r folder; do
        [ -d "$folder/$name" ] || continue
        find "$folder/$name" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | while read -r pid; do
            kill -9 "$pid" 2>/dev/null || true
        done
    done
    ;;
remove)
    for _ in $(seq 100); do # until the last process has left
        left=0
        while read -r folder; do
            [ ! -d "$folder/$name" ] || find "$folder/$name" -depth -type d -exec rmdir {} \; 2>/dev/null
            [ ! -d "$folder/$name" ] || left=1
        done < <(own)
        [ "$left" = 1 ] || exit 0
        sleep 0.1
    done
    echo "cgroups $name are still there" >&2
    exit 1
    ;;
esac
