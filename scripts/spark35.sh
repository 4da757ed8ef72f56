#!/usr/bin/env bash
# Put Spark 3.5 and everything for the tests into .venv-spark35 of this checkout; quick when it is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

folder=.venv-spark35
stamp=$folder/setup-stamp
wanted=$(cat pyproject.toml constraints.txt constraints-spark35.txt scripts/spark35.sh | cksum)
[ "$(cat "$stamp" 2>/dev/null)" != "$PWD $wanted" ] || exit 0

printf 'spark35: making %s; the first time takes some minutes\n' "$folder"
rm -rf "$folder"
.venv/bin/python -m venv "$folder"
# The pins of constraints.txt, but for the packages that have others here.
names=$(sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' constraints-spark35.txt | paste -sd '|')
grep -vE "^($names)==" constraints.txt | cat - constraints-spark35.txt >"$folder/constraints.txt"
"$folder/bin/python" -m pip install --quiet --upgrade --constraint "$folder/constraints.txt" pip
"$folder/bin/python" -m pip install --quiet --constraint "$folder/constraints.txt" \
    --build-constraint "$folder/constraints.txt" --editable '.[local,verify,test]'
"$folder/bin/python" -m shardwright.store.jvm
printf '%s %s\n' "$PWD" "$wanted" >"$stamp"
