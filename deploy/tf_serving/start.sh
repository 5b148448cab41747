#!/usr/bin/env bash
# Starts TensorFlow Serving in its container; what `docker run IMAGE` is given after the image's name is handed on.
#
#   MODEL           the folder of the model's numbered versions: a path in the container, or gs://...
#   MODEL_NAME      its name in the server's URLs
#   PORT            where REST is, as Cloud Run and Knative say it. With PORT=8500 it is gRPC that is there, and REST
#                   on 8501: for Cloud Run with --use-http2 --port 8500
#   BATCHING        the file of the parameters by which requests are computed together
#   DRAIN_SECONDS   how long requests may go on after SIGTERM
set -euo pipefail

readonly GRPC_PORT=8500

rest_port=${PORT:-8501}
if [ "$rest_port" = "$GRPC_PORT" ]; then rest_port=8501; fi

# TensorFlow Serving does not handle SIGTERM: as the first process of a container it would not even end by it, and
# elsewhere it leaves its requests without an answer. So this script goes on as that process, and gives them time.
server='' stopping=''
stop() {
  stopping=yes
  sleep "${DRAIN_SECONDS:-5}"
  if [ -n "$server" ]; then kill -TERM "$server" 2>/dev/null || true; fi
}
trap stop TERM INT

tensorflow_model_server \
  --port="$GRPC_PORT" \
  --rest_api_port="$rest_port" \
  --model_name="${MODEL_NAME:-model}" \
  --model_base_path="${MODEL:-/models/model}" \
  --enable_batching=true \
  --batching_parameters_file="${BATCHING:-/etc/tf_serving/batching.pbtxt}" \
  "$@" &
server=$!

code=0
wait "$server" || code=$?
if [ -z "$stopping" ]; then exit "$code"; fi
wait "$server" || true # the first `wait` was ended by the signal
