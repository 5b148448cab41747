#!/usr/bin/env bash
# Predicts on Google Cloud Dataflow; sets itself up on its first start.
set -euo pipefail
# shellcheck source=scripts/set_up.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/scripts/set_up.sh"

usage() {
  cat <<'HELP'
./run_dataflow.sh batch [FLAG...]       predict on files that are there; the job ends when all are done
./run_dataflow.sh streaming [FLAG...]   predict on files as they come, until the job is drained or cancelled
./run_dataflow.sh template build|run    make a Flex Template of this project, or start a job from it

  --help      after batch, streaming or template: what each takes
  --dry_run   print the command that would be run, and what the checks before the start find; start nothing

Settings come from flags, from the environment, or from the file .env of the current folder: see .env.example.
HELP
}

case "${1:-}" in
  batch | streaming)
    set_up requirements.lock
    exec "$VENV/bin/beam-predict" dataflow "$@"
    ;;
  template)
    set_up requirements.lock
    exec "$VENV/bin/beam-predict" "$@"
    ;;
  -h | --help) usage ;;
  *)
    say "run_dataflow.sh: ${1:-nothing} is none of batch, streaming, template"
    usage >&2
    exit 2
    ;;
esac
