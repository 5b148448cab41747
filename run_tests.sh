#!/usr/bin/env bash
# Lints, checks types and tests; sets itself up on its first start.
set -euo pipefail
# shellcheck source=scripts/set_up.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/scripts/set_up.sh"

usage() {
  cat <<'HELP'
./run_tests.sh               lint, format, types, shell scripts, images, tests; stops at the first that fails
./run_tests.sh ARGUMENT...   pytest with these arguments, and nothing else; paths are relative to the repository

  ./run_tests.sh tests/test_scripts.py -k stamp
HELP
}

step() { # COMMAND...
  printf '\n== %s\n' "$*"
  "$@"
}

lint() {
  step ruff check .
  step ruff format --check .
  step mypy
  step shellcheck -x ./*.sh scripts/*.sh deploy/*.sh deploy/*/*.sh .ci/run
  step hadolint deploy/*Dockerfile deploy/*/Dockerfile
}

case "${1:-}" in -h | --help) usage && exit ;; esac

set_up requirements-test.lock requirements-serving.lock requirements.lock
# Without a Python that is new enough for it, the tests that need it say so.
set_up_bqemulator || [ $? -eq "$EXIT_NO_PYTHON" ]
cd "$ROOT"
PATH=$VENV/bin:$PATH
if [ $# -eq 0 ]; then
  lint
  # Two processes, since many tests wait; each file in one of them, for what a file's tests share is made once then.
  set -- --numprocesses 2 --dist loadfile
fi
step pytest "$@"
