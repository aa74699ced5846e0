#!/usr/bin/env bash
# Makes .venv as uv.lock says, with the first Python of 3.11 to 3.13 that works; make calls it when the lock has changed.
set -euo pipefail
cd "$(dirname "$0")/.."

usable='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

works() { "$1" -c "$usable" >/dev/null 2>&1; }

find_python() {
    local name found
    # A version manager's shim may exist for a version that is not there, so each is run. 3.13 first: it is what AWS runs.
    for name in python3.13 python3.12 python3.11 python3 python; do
        # The shell may find a shim where the real one is further down PATH.
        while read -r found; do
            if works "$found"; then
                echo "$found"
                return
            fi
        done < <(type -ap "$name")
    done
}

if [ "$(uname -s)" != Linux ]; then
    echo "Note: \`make run\` and the tests that start functions need Linux (the Lambda Runtime Interface Emulator is a Linux program);" >&2
    echo "      open this folder in its dev container (.devcontainer/devcontainer.json) for those." >&2
fi

if ! works .venv/bin/python; then
    python=$(find_python)
    if [ -z "$python" ]; then
        echo "There is no Python 3.11, 3.12 or 3.13 with venv on PATH. Install one, for example: sudo apt install python3 python3-venv" >&2
        exit 1
    fi
    echo "Making .venv with $("$python" --version) ($python)"
    rm -rf .venv
    "$python" -m venv .venv
fi

uv_version=$(sed -n 's/^ *"uv==\([0-9.]*\)",$/\1/p' pyproject.toml)
if [ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$uv_version" ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
fi
echo "Installing what uv.lock names (about 1 GB; minutes the first time, seconds from uv's cache)"
# An extra that somebody chose stays: without torch another network would be trained.
extra=()
for name in torch keras xgboost lightgbm mlflow; do
    if .venv/bin/python -c "import importlib.util as u, sys; sys.exit(u.find_spec('$name') is None)"; then extra+=(--extra "$name"); fi
done
VIRTUAL_ENV= .venv/bin/uv sync --frozen --quiet ${extra[@]+"${extra[@]}"} --python .venv/bin/python
printf '✓ %-18s %8d s  %s in .venv\n' environment "$SECONDS" "$(.venv/bin/python --version)"
