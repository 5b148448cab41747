"""A folder that is watched, by the command as a user would start and stop it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import IMAGES, MODEL, ROOT, rows
from transforms import progress

SECONDS = 90.0


@dataclass
class Running:
    """The command, while it runs."""

    process: subprocess.Popen[str]
    output: Path

    def wait_for(self, condition: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Wait until the predictions that are written are as wanted, and return them."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                if condition(found := rows(self.output, "predictions")):
                    return found
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError(self.process.communicate())

    def stop(self, number: signal.Signals) -> str:
        """Send a signal, and return what was printed until the end."""
        self.process.send_signal(number)
        printed, complaints = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0, complaints
        return printed


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@contextlib.contextmanager
def watching(incoming: Path, output: Path, *flags: object, model: Path = MODEL) -> Iterator[Running]:
    command = (
        *(sys.executable, "-m", "pipeline", "--input", str(incoming / "*.png"), "--watch", "1"),
        *("--model", str(model), "--signature", "from_bytes", "--output", str(output), "--window", "1"),
        *map(str, flags),
    )
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Running(process, output)
    finally:
        process.kill()
        process.wait()


def test_new_files_are_predicted_on_each_once_and_overwritten_ones_again(
    incoming: Path, tmp_path: Path
) -> None:
    shutil.copy(IMAGES[0], incoming / "a.png")
    with watching(incoming, tmp_path / "out") as running:
        running.wait_for(lambda found: len(found) == 1)
        shutil.copy(IMAGES[1], incoming / "b.png")
        running.wait_for(lambda found: len(found) == 2)
        shutil.copy(IMAGES[2], tmp_path / "new")
        os.replace(tmp_path / "new", incoming / "a.png")
        found = running.wait_for(lambda found: len(found) == 3)
        printed = running.stop(signal.SIGTERM)

    of_a = [row for row in found if row["uri"].endswith("a.png")]
    assert len({row["generation"] for row in of_a}) == len({row["prediction_id"] for row in of_a}) == 2
    assert "predictions   3" in printed
    assert "inputs        3" in printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_loses_nothing_of_what_was_read(
    number: signal.Signals, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = tmp_path / "counted"
    counted.mkdir()
    monkeypatch.setenv(progress.FOLDER_VARIABLE, str(counted))
    for image in IMAGES[:40]:
        shutil.copy(image, incoming)
    with watching(incoming, tmp_path / "out", "--window", 3_600) as running:  # longer than anybody waits
        deadline = time.monotonic() + SECONDS
        while not any(counted.iterdir()) or not progress.read(str(counted)).listed:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        printed = running.stop(number)  # the model is not even loaded
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["unaccounted"] == 0
    assert 0 < summary["arrival_to_prediction_seconds"]["median"] < SECONDS
    assert len(rows(tmp_path / "out", "predictions")) == summary["predictions"] == summary["inputs"] == 40
    assert "Done in" in printed


def test_a_newer_version_of_the_model_takes_over_while_it_runs(incoming: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(MODEL, models / "1")
    with watching(incoming, tmp_path / "out", "--model_poll_interval", 1, model=models) as running:
        shutil.copy(IMAGES[0], incoming / "0.png")
        running.wait_for(lambda found: {row["model_version"] for row in found} == {"1"})
        shutil.copytree(MODEL, models / "copy")
        (models / "copy").rename(models / "2")
        numbers = iter(range(1, 10_000))

        def is_there(found: list[dict[str, Any]]) -> bool:
            shutil.copy(IMAGES[1], incoming / f"{next(numbers)}.png")  # until one finds the new version
            return any(row["model_version"] == "2" for row in found)

        running.wait_for(is_there)
        printed = running.stop(signal.SIGTERM)
    assert "version swaps  1" in printed
