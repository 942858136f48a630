#!/usr/bin/env bash
# Builds OpenCost from its Go module into the user's cache, and prints where; fails with the cause on stderr.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=script/tools.sh
. script/tools.sh
version=1.118.0
binary=$tools/opencost-v$version
if [ ! -x "$binary" ]; then
    command -v go >/dev/null || { echo "needs OPENCOST=PATH, or Go to build it" >&2; exit 1; }
    refused=$(go mod download -json "github.com/opencost/opencost@v$version" 2>/dev/null | jq -r '.Error // empty' || true)
    if [ -n "$refused" ]; then
        echo "needs OPENCOST=PATH: Go cannot have its module ($(tail -n 1 <<<"$refused" | sed 's/^[[:space:]]*//'))" >&2
        exit 1
    fi
    folder=$(go_module opencost "github.com/opencost/opencost@$version")
    go_build "$folder" "opencost-v$version" github.com/opencost/opencost/cmd/costmodel >&2
    rm -rf "$folder"
fi
echo "$binary"
