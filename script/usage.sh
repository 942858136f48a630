# shellcheck shell=sh
# Sourced by each script before it does anything, from the project's top folder: -h and --help print the script's head.
# `takes` refuses what the script does not know, before anything is built.
script=script/$(basename "$0")

usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$script"; }
case ${1:-} in -h | --help) usage && exit 0 ;; esac

refuse() { # ARGUMENT
    echo "$script: unknown argument $1; $script --help says what there is" >&2
    exit 2
}

# takes MOST PATTERN ARGUMENT... : at most so many arguments, each as the extended expression says.
takes() {
    most=$1 pattern=$2
    shift 2
    for argument; do
        most=$((most - 1))
        if [ "$most" -lt 0 ] || ! printf '%s\n' "$argument" | grep -qxE -- "$pattern"; then refuse "$argument"; fi
    done
}
