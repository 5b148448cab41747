#!/usr/bin/env bash
# Starts the server of the image; what `docker run IMAGE` is given after the image's name is handed on to it.
#
#   MODEL           the model: a path in the container, or gs://...
#   MODEL_NAME      its name in the server's URLs
#   SIGNATURE       its signature; serving_default if empty
#   PORT            where the server listens, as Cloud Run and Knative say it
#   DRAIN_SECONDS   how long requests may go on after SIGTERM; Cloud Run gives 10 s
#
# Vertex AI says where the model is, and which port it calls, in variables of its own.
set -euo pipefail

MODEL=${AIP_STORAGE_URI:-${MODEL:-}}
export PORT=${AIP_HTTP_PORT:-${PORT:-8080}}

if [ -z "$MODEL" ]; then
  echo "MODEL is not set: say where the model is, such as -e MODEL=gs://my-bucket/models/digits" >&2
  exit 2
fi

flags=(--model "$MODEL" --model_name "${MODEL_NAME:-model}" --host 0.0.0.0 --drain_seconds "${DRAIN_SECONDS:-8}")
if [ -n "${SIGNATURE:-}" ]; then flags+=(--signature "$SIGNATURE"); fi

# exec, so that signals reach the server.
exec beam-predict serve "${flags[@]}" "$@"
