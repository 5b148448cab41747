#!/usr/bin/env bash
# Builds a Flex Template, or starts a job from one; sets itself up on its first start. `--help` tells all.
set -euo pipefail
# shellcheck source=scripts/set_up.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../scripts/set_up.sh"

set_up requirements.lock
exec "$VENV/bin/beam-predict" template "$@"
