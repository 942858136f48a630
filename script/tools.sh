# Sourced: where programs of others are kept that Go builds for the tests, and how. They are this user's, not this
# tree's, so that another clone finds them.
# shellcheck shell=bash
tools=${NETMON_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/zxporter-netmon}
kubernetes=1.37.2 etcd=3.7.0 # etcd's as in the go.mod of Kubernetes
# shellcheck disable=SC2034 # used where it is sourced
containerd=2.4.2 coredns=1.15.0

# go_module NAME REQUIREMENT... : a module in a new folder under target, which is printed.
go_module() {
    local folder requirement
    mkdir -p "$tools" target
    folder=$(mktemp -d "target/go-$1.XXXXXX")
    printf 'module %s\ngo 1.26.6\n' "$1" >"$folder/go.mod"
    shift
    for requirement; do echo "require ${requirement/@/ v}" >>"$folder/go.mod"; done
    echo "$folder"
}

# Kubernetes with the staged modules at the versions that belong to it, and the etcd that it needs.
kubernetes_module() {
    local folder replaced
    folder=$(go_module kubernetes "k8s.io/kubernetes@$kubernetes" "go.etcd.io/etcd/server/v3@$etcd")
    replaced=$(go mod download -json "k8s.io/kubernetes@v$kubernetes" | jq -r .GoMod)
    grep -oE '^\s+k8s.io/[a-z-]+ => ./staging' "$replaced" | while read -r module _; do
        echo "replace $module => $module v0.${kubernetes#1.}" >>"$folder/go.mod"
    done
    echo "$folder"
}

# go_build FOLDER PROGRAM PACKAGE : static, into the tools, unless it is there. Kubernetes is told its version: charts ask.
go_build() {
    local flags="-s -w" package
    [ ! -x "$tools/$2" ] || return 0
    for package in component-base/version client-go/pkg/version; do
        flags+=" -X k8s.io/$package.gitVersion=v$kubernetes -X k8s.io/$package.gitMajor=1"
        flags+=" -X k8s.io/$package.gitMinor=$(cut -d. -f2 <<<"$kubernetes")"
    done
    (cd "$1" && CGO_ENABLED=0 GOFLAGS=-mod=mod go build -p 1 -trimpath -ldflags="$flags" -o "$tools/$2.new" "$3") &&
        mv "$tools/$2.new" "$tools/$2"
}
