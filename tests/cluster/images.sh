#!/usr/bin/env bash
# The images of the cluster as OCI archives in target/cluster/images: the product as script/image leaves it, the tests'
# tool (target of cargo: traffic, DAKR), CoreDNS and the container that holds a pod's namespaces.
#
#   images.sh TOOL
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=script/tools.sh
. script/tools.sh
images=$PWD/target/cluster/images
mkdir -p "$images"
scratch=$(mktemp -d target/cluster/image.XXXXXX)
trap 'rm -rf "$scratch"' EXIT

# blob FILE : into the layout, by its digest, which is printed with its size.
blob() {
    local digest
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    cp "$1" "$scratch/layout/blobs/sha256/$digest"
    printf '"digest":"sha256:%s","size":%s' "$digest" "$(stat -c %s "$1")"
}

# image NAME ROOT USER ENTRYPOINT : one layer of the files below ROOT, file capabilities among them.
image() {
    local name=$1 root=$2 user=$3 entrypoint=$4 layer config manifest
    rm -rf "$scratch/layout"
    mkdir -p "$scratch/layout/blobs/sha256"
    tar --create --format=pax --xattrs --xattrs-include='*' --sort=name --numeric-owner --owner=0 --group=0 \
        --mtime=@0 --file "$scratch/layer" --directory "$root" .
    layer=$(blob "$scratch/layer")
    printf '{"architecture":"amd64","os":"linux","config":{"User":"%s","Entrypoint":["%s"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$user" "$entrypoint" "$(sha256sum "$scratch/layer" | cut -d' ' -f1)" >"$scratch/config"
    config=$(blob "$scratch/config")
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",%s}]}' \
        "$config" "$layer" >"$scratch/manifest"
    manifest=$(blob "$scratch/manifest")
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"annotations":{"io.containerd.image.name":"cluster.test/%s"}}]}' \
        "$manifest" "$name" >"$scratch/layout/index.json"
    echo '{"imageLayoutVersion":"1.0.0"}' >"$scratch/layout/oci-layout"
    tar --create --file "$images/${name%%:*}.tar" --directory "$scratch/layout" .
}

root=$scratch/root
fresh() { rm -rf "$root"; mkdir -p "$root"; }

fresh
printf 'int pause(void); int main(void) { for (;;) pause(); }\n' | musl-gcc -static -Os -x c -o "$root/pause" -
image pause:1 "$root" 65532:65532 /pause

# Programs that are linked dynamically take their libraries along.
with_libraries() {
    install -D "$1" "$root/$2"
    { ldd "$1" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
        install -D "$library" "$root$library"
    done
}

fresh
with_libraries "$1" tool
strip "$root/tool"
mkdir -m 1777 "$root/tmp"
image tool:1 "$root" 0:0 /tool

fresh
install -D "$tools/coredns-v$coredns" "$root/coredns"
image coredns:1 "$root" 65532:65532 /coredns

if [ -n "${LAB_BINARY:-}" ]; then
    fresh
    with_libraries "$LAB_BINARY" zxporter-netmon
    strip "$root/zxporter-netmon"
    setcap cap_net_admin,cap_bpf,cap_perfmon,cap_sys_resource+p "$root/zxporter-netmon"
    image netmon:1 "$root" 65532:65532 /zxporter-netmon
elif [ -n "${ENGINE_IMAGE:-}" ]; then
    # As the engine wrote it, but for the name by which containerd takes it in.
    rm -rf "$scratch/layout"
    mkdir "$scratch/layout"
    tar --extract --file "$ENGINE_IMAGE" --directory "$scratch/layout"
    jq '.manifests[0].annotations = { "io.containerd.image.name": "cluster.test/netmon:1" }' \
        "$scratch/layout/index.json" >"$scratch/index"
    mv "$scratch/index" "$scratch/layout/index.json"
    tar --create --file "$images/netmon.tar" --directory "$scratch/layout" .
else
    script/image
    image netmon:1 "$PWD/target/image" 65532:65532 /zxporter-netmon
fi
