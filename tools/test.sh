#!/usr/bin/env bash
# Tests jllm: installs what testing needs and is not there, then runs every test with Bazel.
#
#   tools/test.sh                                    # everything: bazel test //...
#   tools/test.sh //packages/jllm-data/...           # some targets
#   tools/test.sh --config=gpu                       # any option of bazel test
#
# Needs CPython 3.11 with pip and venv, and a Bazel of 4.2 to 7: bazelisk or bazel on the PATH, or
# else Debian's bazel-bootstrap, which this installs. The first run fetches 0.5 GB of locked
# packages. The last line counts test cases: N passed, N failed[, N skipped].

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "tools/test.sh: $*" >&2; }

install() { # PACKAGE... with apt
    local sudo=()
    if ((EUID)); then sudo=(sudo); fi
    command -v apt-get >/dev/null || { say "error: install $* (no apt-get here)"; exit 2; }
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

usable() { # COMMAND: whether it is a Bazel of 4.2 to 7; Debian's own does not say its version
    local version
    command -v "$1" >/dev/null || return 1
    version=$("$1" --version 2>/dev/null) || return 1
    case ${version#bazel } in
        no_version | 4.[2-9]* | [567].*) return 0 ;;
        *) say "$1 is '$version', not 4.2 to 7"; return 1 ;;
    esac
}

find_bazel() {
    for bazel in bazelisk bazel bazel-4 /usr/bin/bazel-4; do
        if usable "$bazel"; then return; fi
    done
    install bazel-bootstrap
    bazel=/usr/bin/bazel
}

find_python() { # sets PYTHON_BIN_PATH, which the build uses
    local candidate
    for candidate in "${PYTHON_BIN_PATH:-}" python3.11 python3 /usr/bin/python3.11; do
        if [[ $candidate ]] && "$candidate" -c 'import ensurepip, pip, sys, venv
sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            PYTHON_BIN_PATH=$("$candidate" -c 'import sys; print(sys.executable)')
            export PYTHON_BIN_PATH
            return
        fi
    done
    if [[ ${1:-} ]]; then say "error: no CPython 3.11 with pip and venv; set PYTHON_BIN_PATH"; exit 2; fi
    install python3 python3-pip python3-venv
    find_python installed
}

find_python
find_bazel
targets=(//...)
for argument in "$@"; do
    if [[ $argument != -* ]]; then targets=(); fi
done

events=$(mktemp)
trap 'rm -f "$events"' EXIT
say "$bazel test ${targets[*]} $* (the first run fetches the locked packages)"
code=0
"$bazel" test --keep_going --curses=no --show_progress_rate_limit=15 \
    --build_event_json_file="$events" "${targets[@]}" "$@" </dev/null || code=$?
if [[ ${CI:-} ]]; then "$bazel" shutdown || true; fi
"$PYTHON_BIN_PATH" tools/bazel/count_cases.py "$events" "$code"
