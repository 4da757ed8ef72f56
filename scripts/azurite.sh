#!/usr/bin/env bash
# Print where Azurite lies, Azure's storage for tests; npm installs it the first time.
set -euo pipefail

version=3.35.0
folder=${XDG_CACHE_HOME:-$HOME/.cache}/shardwright/azurite-$version
if [ ! -d "$folder" ]; then
    command -v npm >/dev/null || {
        echo "azurite: npm is missing. Run: sudo apt-get install npm" >&2
        exit 1
    }
    echo "azurite: installing $version" >&2
    mkdir -p "${folder%/*}"
    workspace=$(mktemp -d "${folder%/*}/.azurite.XXXXXX")
    trap 'rm -rf "$workspace"' EXIT
    npm install --prefix "$workspace" --no-audit --no-fund "azurite@$version" >&2
    # Renamed when complete: a folder of that name can be trusted.
    mv "$workspace" "$folder"
fi
printf '%s\n' "$folder/node_modules/.bin/azurite-blob"
