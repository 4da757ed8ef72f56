#!/usr/bin/env bash
# Put everything that shardwright needs into .venv of this checkout; quick when it is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Install Debian packages when this is Debian or Ubuntu and we are root; else say which command does.
apt_install() {
    local why=$1
    shift
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        printf 'setup: %s: installing %s\n' "$why" "$*"
        DEBIAN_FRONTEND=noninteractive apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        fail "$why. Run: sudo apt-get install $*"
    fi
}

java_is_fit() {
    local java=java
    [ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
    "$java" -version 2>&1 | grep -qE 'version "(17|21)[."]'
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.10 python3}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.10, 3.11 or 3.12 was found${PYTHON:+ as $PYTHON}. Run: sudo apt-get install python3 python3-venv"
}

if ! java_is_fit; then
    [ -z "${JAVA_HOME:-}" ] || fail "JAVA_HOME is $JAVA_HOME, which has no Java 17 or 21. Point it at one, or unset it"
    package=openjdk-17-jre-headless
    apt-cache show "$package" >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || apt-get update -qq || true
    apt-cache show "$package" >/dev/null 2>&1 || package=openjdk-21-jre-headless
    apt_install "Java 17 or 21 is missing" "$package"
    java_is_fit || fail "Java 17 or 21 was installed, but 'java' is another one. Set JAVA_HOME to it"
fi

# The stamp is written last and names what it was made from: a set-up that was interrupted is made anew.
stamp=.venv/setup-stamp
wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
if [ ! -x .venv/bin/shardwright ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted $PWD" ]; then
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "the venv module of $python is missing" "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local,verify,test,demo,dev]'
    printf '%s %s' "$wanted" "$PWD" >"$stamp.new"
    mv "$stamp.new" "$stamp"
fi

# Delta's jars, and the classes that Spark loads, once for this user.
.venv/bin/python -m shardwright.store.jvm
