#!/bin/sh
# Makes .venv exactly what requirements.lock says, with this package editable in it.
# Does nothing when the lock, pyproject.toml, this file and the clone's path are as they were.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=.venv/bin/python
stamp=.venv/set-up-stamp
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0 UV_PYTHON_DOWNLOADS=never
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV || true

state() { pwd; cat requirements.lock pyproject.toml tools/set_up.sh | cksum; }
if [ -x "$venv" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(state)" ]; then exit 0; fi

fail() { echo "set-up: $*" >&2; exit 1; }
# The lock's own lines for uv ("only") or all the others ("without"), hashes included.
lock() { awk -v want="$1" '/^[^ #]/ { is = /^uv==/ ? "only" : "without" } is == want' requirements.lock; }

moved() { [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" != "$(pwd)" ]; }  # its scripts hold the old path
if moved || ! "$venv" -c '' 2>/dev/null; then
    command -v "$python" >/dev/null || fail "$python not found; install Python 3.11 or newer, or name it: make PYTHON=..."
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is Python $version; 3.11 or newer is needed: make PYTHON=python3.11 (or newer)"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no ensurepip; install it (Debian, Ubuntu: apt install python$version-venv) and try again"
    echo "set-up: making .venv with Python $version (once; about a minute)"
    "$python" -m venv --clear .venv || fail "$python -m venv failed"
fi
rm -f "$stamp"

install_with_uv() {
    uv=uv
    if ! command -v uv >/dev/null 2>&1; then
        lock only >"$some"
        "$venv" -m pip install --quiet --require-hashes -r "$some" || return 1
        uv=.venv/bin/uv
    fi
    quiet=--quiet
    if [ -t 2 ]; then quiet=; fi
    "$uv" pip sync $quiet --compile-bytecode --python "$venv" --require-hashes requirements.lock &&
        "$uv" pip install --quiet --python "$venv" --no-deps --no-build-isolation -e .
}

install_with_pip() {
    lock without >"$some"
    "$venv" -m pip install --quiet --require-hashes -r "$some"
    "$venv" -m pip install --quiet --no-deps --no-build-isolation -e .
}

echo "set-up: installing what requirements.lock names"
some=$(mktemp)
trap 'rm -f "$some"' EXIT
install_with_uv || {
    echo "set-up: uv does not work here; pip does the same, more slowly" >&2
    install_with_pip
}

# Bytecode once, here: where PYTHONDONTWRITEBYTECODE is set, every start would compile anew.
(unset PYTHONDONTWRITEBYTECODE; "$venv" -m compileall -q -j 0 workbench "$("$venv" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" >/dev/null 2>&1 || true)

# JupyterLab would ask the network for news on every first start.
settings=.venv/share/jupyter/lab/settings
mkdir -p "$settings"
cat >"$settings/overrides.json" <<'JSON'
{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}
JSON
state >"$stamp"
echo "set-up: done"
