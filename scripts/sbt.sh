#!/usr/bin/env bash
# Run sbt, which is fetched the first time. Arguments: settings (-Drapids.jar=PATH), then sbt's commands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -n 's/^sbt.version=//p' project/build.properties)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/shardwright/sbt
launcher=$folder/sbt-launch-$version.jar
if [ ! -s "$launcher" ]; then
    command -v mvn >/dev/null || {
        printf "udfs: 'mvn' is missing, which fetches sbt. Run: sudo apt-get install maven\n" >&2
        exit 1
    }
    mkdir -p "$folder"
    mvn -q dependency:copy -Dartifact="org.scala-sbt:sbt-launch:$version" -DoutputDirectory="$folder" </dev/null
fi

settings=()
while [[ ${1:-} == -D* ]]; do
    settings+=("$1")
    shift
done
exec java -Xmx2g -Dsbt.override.build.repos=true -Dsbt.repository.config=project/repositories -Dsbt.color=false \
    "${settings[@]}" -jar "$launcher" "$@" </dev/null
