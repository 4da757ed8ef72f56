#!/usr/bin/env bash
# Print where the RAPIDS jar lies, the real one, 1.0 GB; it is fetched the first time.
set -euo pipefail

version=26.08.1
folder=${XDG_CACHE_HOME:-$HOME/.cache}/shardwright/rapids
jar=$folder/rapids-4-spark_2.13-$version.jar
if [ ! -f "$jar" ]; then
    command -v mvn >/dev/null || {
        echo "rapids: Maven is missing. Run: sudo apt-get install maven" >&2
        exit 1
    }
    echo "rapids: fetching $(basename "$jar"), 1.0 GB" >&2
    # Renamed when complete: a jar of that name can be trusted.
    mvn -q dependency:copy -Dartifact="com.nvidia:rapids-4-spark_2.13:$version" -DoutputDirectory="$folder/unfinished" >&2
    mv "$folder/unfinished/$(basename "$jar")" "$jar"
fi
printf '%s\n' "$jar"
