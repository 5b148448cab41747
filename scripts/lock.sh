#!/usr/bin/env bash
# Writes the lock files, from setup.py and requirements-*.in: what there is stays at its version, unless the
# arguments say otherwise.
#
#   scripts/lock.sh                               after a change of setup.py
#   scripts/lock.sh --upgrade                     everything to its newest version
#   scripts/lock.sh --upgrade-package tensorflow  one package
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

if ! command -v uv >/dev/null; then
  echo "scripts/lock.sh needs uv, which can lock for all platforms and Pythons at once: pip install uv" >&2
  exit 69
fi

export UV_CUSTOM_COMPILE_COMMAND=scripts/lock.sh # the header of the files

compile() { # LOCK OLDEST_PYTHON SOURCE ARGUMENT...
  local lock=$1 oldest=$2
  shift 2
  # --no-emit-index-url: where the packages come from is the business of whoever installs them.
  uv pip compile --universal --python-version "$oldest" --generate-hashes --no-emit-index-url --quiet \
    --constraint requirements-constraints.in --override requirements-overrides.in --output-file "$lock" "$@"
}

compile requirements.lock 3.10 setup.py "$@"
# Constrained, for scripts/set_up.sh relies on it: what has all of a later lock has all of those before it.
compile requirements-serving.lock 3.10 setup.py --extra serving --extra images --extra litert --extra openvino \
  --constraint requirements.lock "$@"
compile requirements-test.lock 3.10 setup.py --extra test --constraint requirements-serving.lock "$@"
# Constrained, for it is installed over the other.
compile requirements-gpu.lock 3.10 requirements-gpu.in --constraint requirements.lock "$@"
compile requirements-bqemulator.lock 3.11 requirements-bqemulator.in "$@"
