"""The command ends when it has said its last word, whatever an endpoint still owes it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from pathlib import Path

from emulators.model_server import Exchange
from emulators.rest_apis import Answer
from emulators.rest_faults import status, wait_for
from pipeline.exit_codes import FAILED
from tests.transforms.predictors.remote.remote_models import PATH, lengths_server

ROOT = Path(__file__).parents[2]


def test_a_run_that_fails_does_not_wait_for_answers(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}.bin").write_bytes(b"x")
    gate, numbers = threading.Event(), itertools.count()

    def fault(exchange: Exchange) -> Answer | None:
        if exchange.call.method == "GET":
            return None
        number = next(numbers)
        if number == 0:  # the one at launch
            return None
        return status(401)(exchange) if number == 3 else wait_for(gate)(exchange)

    with lengths_server() as server:
        server.fault = fault
        flags = ("--input", tmp_path / "*.bin", "--endpoint", f"{server.address}{PATH}")
        more = ("--endpoint_protocol", "tf_serving", "--output", tmp_path / "out", "--max_batch_size", 8)
        command = [sys.executable, "-m", "pipeline", *map(str, (*flags, *more))]
        try:  # a try alone may take a minute
            done = subprocess.run(command, cwd=ROOT, timeout=45, capture_output=True, text=True, check=False)
        finally:
            gate.set()
    assert done.returncode == FAILED
    assert "HTTP 401 Unauthorized" in done.stderr
    assert done.stderr.rstrip().endswith("the output is not complete")
