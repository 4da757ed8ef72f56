#!/usr/bin/env bash
# Check, test and package the Scala functions for both Scala versions, and put the jars where shardwright looks for them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/sbt.sh scalafmtCheckAll scalafmtSbtCheck clean +udfs/test +udfs/package

jars=jobs/shardwright/jars
mkdir -p "$jars"
rm -f "$jars"/*.jar
cp udfs/target/scala-2.1[23]/shardwright-udfs_2.1[23]-*.jar "$jars"
# Newer than the sources, however long the build took.
touch "$jars"
ls "$jars"
