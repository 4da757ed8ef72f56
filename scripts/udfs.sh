#!/usr/bin/env bash
# Check, test and package the Scala functions for both Scala versions, and put the jars where shardwright looks for them.
# Arguments are further settings for sbt, such as -Drapids.jar=PATH to compile against the real RAPIDS jar.
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

java -Xmx2g -Dsbt.override.build.repos=true -Dsbt.repository.config=project/repositories -Dsbt.color=false "$@" \
    -jar "$launcher" scalafmtCheckAll scalafmtSbtCheck clean +udfs/test +udfs/package </dev/null

jars=jobs/shardwright/jars
mkdir -p "$jars"
rm -f "$jars"/*.jar
cp udfs/target/scala-2.1[23]/shardwright-udfs_2.1[23]-*.jar "$jars"
ls "$jars"
