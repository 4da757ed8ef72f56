#!/usr/bin/env bash
# Put everything that shardwright needs into .venv of this checkout; quick when it is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive

# Two set-ups at once would spoil each other's .venv.
exec 9<scripts/setup.sh
flock 9

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Install Debian packages when this is Debian or Ubuntu and we are root; else say which command does.
apt_install() {
    local why=$1 output
    shift
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        printf 'setup: %s: installing %s\n' "$why" "$*"
        # Java's package cannot be installed where manual pages were left out, as in slim images.
        mkdir -p /usr/share/man/man1
        output=$({ apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } 2>&1) ||
            fail "$why, and apt-get failed:"$'\n'"$(tail -n 5 <<<"$output")"
    else
        fail "$why. Run: sudo apt-get install $*"
    fi
}

is_fit_java() {
    [[ $("$1" -version 2>&1) =~ version\ \"(17|21)[.\"] ]]
}

# What spark-submit will start: JAVA_HOME's Java, else the one on the PATH.
require_java() {
    local java=${JAVA_HOME:+$JAVA_HOME/bin/}java package=openjdk-17-jre-headless other
    ! is_fit_java "$java" || return 0
    for other in /usr/lib/jvm/*/bin/java; do
        ! is_fit_java "$other" || fail "'$java' is no Java 17 or 21. Run: export JAVA_HOME=${other%/bin/java}"
    done
    [ -z "${JAVA_HOME:-}" ] || fail "JAVA_HOME is '$JAVA_HOME', which has no Java 17 or 21. Point it at one, or unset it"
    apt-cache show "$package" >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || apt-get update -qq || true
    apt-cache show "$package" >/dev/null 2>&1 || package=openjdk-21-jre-headless
    apt_install "Java 17 or 21 is missing" "$package"
    is_fit_java "$java" || fail "$package was installed, but 'java' is another one. Set JAVA_HOME to its folder in /usr/lib/jvm"
}

is_fit_python() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    local candidate candidates=(python3.11 python3.12 python3.10 python3)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if is_fit_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    [ -z "${PYTHON:-}" ] || fail "PYTHON is '$PYTHON', which is no Python 3.10, 3.11 or 3.12"
    fail "no Python 3.10, 3.11 or 3.12 was found. Run: sudo apt-get install python3 python3-venv"
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

make_venv() {
    local python
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "the venv module of $python is missing" "python$(version_of "$python")-venv"
    fi
    printf 'setup: making .venv with %s; the first time takes some minutes\n' "$python"
    rm -rf .venv
    "$python" -m venv .venv
    # The pip that a distribution brings may be years old.
    .venv/bin/python -m pip install --quiet --upgrade --constraint constraints.txt pip
}

require_java

# The stamp is written last: a .venv without one was interrupted, and is made anew.
stamp=.venv/setup-stamp
wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
{ read -r place && read -r made_from; } 2>/dev/null <"$stamp" || made_from=
if [ -z "$made_from" ] || [ "$place" != "$PWD" ] || ! is_fit_python .venv/bin/python ||
    { [ -n "${PYTHON:-}" ] && [ "$(version_of "$PYTHON")" != "$(version_of .venv/bin/python)" ]; }; then
    make_venv
    made_from=
fi
if [ "$made_from" != "$wanted" ]; then
    rm -f "$stamp"
    .venv/bin/python -m pip install --quiet --constraint constraints.txt --build-constraint constraints.txt \
        --editable '.[local,verify,test,demo,dev]'
    printf '%s\n%s\n' "$PWD" "$wanted" >"$stamp"
fi

# Delta's jars, and the classes that Spark loads, once for this user.
.venv/bin/python -m shardwright.store.jvm
