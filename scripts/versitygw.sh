#!/usr/bin/env bash
# Print where versitygw lies, an S3 server for tests; it is built the first time, in about two minutes.
set -euo pipefail

version=v1.8.0
folder=${XDG_CACHE_HOME:-$HOME/.cache}/shardwright/bin
server=$folder/versitygw-$version
if [ ! -x "$server" ]; then
    command -v go >/dev/null || {
        echo "versitygw: Go is missing. Run: sudo apt-get install golang" >&2
        exit 1
    }
    echo "versitygw: building $version" >&2
    mkdir -p "$folder"
    workspace=$(mktemp -d "$folder/.build.XXXXXX")
    trap 'rm -rf "$workspace"' EXIT
    GOBIN=$workspace go install "github.com/versity/versitygw/cmd/versitygw@$version" >&2
    # Renamed when complete: a file of that name can be trusted.
    mv "$workspace/versitygw" "$server"
fi
printf '%s\n' "$server"
