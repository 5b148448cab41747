#!/usr/bin/env bash
# Predicts on this machine; sets itself up on its first start.
#
#   ./run_local.sh             the main job, on the bundled digits; results in out/digits
#   ./run_local.sh FLAG...     the job that the flags say; paths are relative to the current folder
#   ./run_local.sh --help      the flags
#   ./run_local.sh serve FLAG...   a server of a model, for endpoints' sake
#   ./run_local.sh --demo streaming [--seconds N]
#                              a streaming job, live: a bucket and Pub/Sub, both emulated on this machine
set -euo pipefail
# shellcheck source=scripts/set_up.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/scripts/set_up.sh"

if [ "${1:-}" = --demo ]; then
  if [ "${2:-}" != streaming ]; then
    say "--demo takes: streaming" "usage: ./run_local.sh --demo streaming [--seconds N]"
    exit 2
  fi
  shift 2
  set_up requirements-test.lock requirements-serving.lock requirements.lock # which has the emulator of Cloud Storage
  cd "$ROOT"
  exec "$VENV/bin/python" -m emulators.demo "$@"
fi

if [ "${1:-}" = serve ]; then
  set_up requirements-serving.lock requirements.lock # which has the server, and each engine
else
  set_up requirements.lock
fi

if [ $# -eq 0 ]; then
  cd "$ROOT" # the records then name the files as a reader of the repository would
  set -- --input 'examples/digits/images/*.png' --model examples/digits/model --output out/digits --overwrite
fi

# The console command, not `python -m pipeline`: -m puts the current folder first on the path of imports, and one
# that has a `pipeline` of its own, which is a common name, would start that. (Python's -P is new in 3.11.)
exec "$VENV/bin/beam-predict" "$@"
