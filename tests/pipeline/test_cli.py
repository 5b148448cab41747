"""The console command, as a user meets it."""

from __future__ import annotations

import itertools
import os
import pty
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline.inspect_model
import pipeline.run
from emulators.model_server import Exchange
from emulators.rest_apis import Answer
from options import GROUPS
from pipeline.cli import main
from pipeline.exit_codes import DONE, FAILED, INTERRUPTED
from pipeline.summary import Summary
from tests.conftest import IMAGES, MODEL, ROOT, run
from tests.transforms.predictors.remote.remote_models import PATH, lengths_server
from tests.transforms.toy_models import save_toys
from transforms import progress

COMMAND = (sys.executable, "-m", "pipeline")


def test_the_help_tells_every_flag_and_imports_no_tensorflow() -> None:
    program = """
import sys
from pipeline.cli import main
try:
    main(["--help"])
except SystemExit as error:
    assert error.code == 0
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    for group in GROUPS:
        assert group.TITLE in done.stdout
        for flag in group.FLAGS:
            assert f"--{flag.name}" in done.stdout


def test_a_model_that_breaks_on_the_worker_fails_the_run_with_its_reason(tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes((MODEL / "saved_model.pb").read_bytes())  # without variables
    done = run("--input", IMAGES[0], "--model", broken, output=tmp_path / "out")
    assert done.code == FAILED
    assert f"--model {broken} cannot be loaded" in done.complaints
    assert "variables" in done.complaints
    assert "the output is not complete" in done.complaints
    assert not done.predictions


def test_the_reason_of_a_failure_on_a_worker_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = save_toys(tmp_path / "toys")
    flags = ("--model", model, "--signature", "fewer_rows", "--input_kind", "bytes")
    done = run("--input", IMAGES[0], *flags, output=tmp_path / "out")
    assert done.code == FAILED
    told = caplog.text + done.complaints  # the terminal shows both
    assert told.count("its first dimension must be the batch's") == 1, told
    assert told.count("Traceback") <= 1, told
    assert done.complaints.endswith("the run failed; the output is not complete\n")


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_what_the_user_can_mend_is_told_without_frames(tmp_path: Path, mode: str) -> None:
    asked = itertools.count()

    def close_after_the_launch(exchange: Exchange) -> Answer | None:
        return Answer(401, b"who are you?") if next(asked) > 1 else None  # the metadata, and one file

    with lengths_server() as server:
        server.fault = close_after_the_launch
        address = ("--endpoint", f"{server.address}{PATH}", "--endpoint_protocol", "tf_serving")
        beams = ("--direct_num_workers", "2", "--direct_running_mode", mode) * (mode != "in_memory")
        done = run("--input", IMAGES[0], *address, *beams, output=tmp_path / "out")
    assert done.code == FAILED
    assert done.complaints == (
        f"beam-predict: the run failed: --endpoint {server.address}{PATH}: HTTP 401 Unauthorized: "
        "who are you? (check --endpoint_auth); the output is not complete\n"
    )


def test_the_help_comes_soon() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*COMMAND, "--help"], cwd=ROOT, capture_output=True, check=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of its own processor time, for other processes may slow it down.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 8


class TestProgress:
    def test_the_totals_of_all_processes_are_added_up(self, tmp_path: Path) -> None:
        program = "from transforms import progress; progress.add(listed=2, predicted=1); input()"
        environment = {**os.environ, progress.FOLDER_VARIABLE: str(tmp_path)}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program], cwd=ROOT, env=environment, stdin=subprocess.PIPE
            )
            for _ in range(2)
        ]
        try:
            wanted = progress.Progress(listed=4, predicted=2, dead=0)
            assert wait_until(lambda: progress.read(str(tmp_path)) == wanted)
        finally:
            for process in processes:
                process.communicate(b"\n", timeout=60)

    def test_it_is_not_shown_where_there_is_no_terminal(self, tmp_path: Path) -> None:
        done = run("--input", IMAGES[0], "--model", MODEL, output=tmp_path)
        assert (done.code, done.complaints) == (DONE, "")

    def test_a_terminal_shows_it(self, tmp_path: Path) -> None:
        code, shown = in_terminal("--input", IMAGES[0], "--model", MODEL, "--output", tmp_path)
        assert code == DONE
        assert "1 files listed, loading the model" in shown


@pytest.mark.parametrize("moment", ["loading the model", "of 50,000 files predicted"])
def test_ctrl_c_ends_a_run_soon_and_says_that_the_output_is_not_complete(tmp_path: Path, moment: str) -> None:
    (tmp_path / "names.txt").write_text(f"{IMAGES[0]}\n" * 50_000)
    flags = ("--input", f"@{tmp_path}/names.txt", "--model", MODEL, "--output", tmp_path / "out")
    code, shown = in_terminal(*flags, interrupt_at=moment)
    assert code == INTERRUPTED, shown
    assert "interrupted; the output is not complete" in shown
    assert "Traceback" not in shown
    assert not list(tmp_path.glob("out/predictions-*"))


def test_ctrl_c_ends_a_run_though_a_thread_of_the_runner_is_left() -> None:
    # Beam's sampler of states, when Ctrl-C comes before it is told to stop
    program = """
import runpy, sys, threading
import pipeline.run

def predict(arguments, prog=""):
    threading.Thread(target=threading.Event().wait).start()
    raise KeyboardInterrupt

pipeline.run.predict = predict
sys.argv = ["pipeline"]
runpy.run_module("pipeline", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == INTERRUPTED
    assert done.stderr == "beam-predict: interrupted; nothing was started\n"


def test_a_defect_before_the_start_costs_no_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(pipeline.run, "prepare_outputs", broken)
    done = run("--input", IMAGES[0], "--model", MODEL, output=tmp_path / "out")
    assert done.code == FAILED
    assert done.complaints.endswith("RuntimeError: a defect\nbeam-predict: failed; nothing was started\n")


def test_ctrl_c_after_the_run_costs_its_summary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Summary, "of", interrupted)
    done = run("--input", IMAGES[0], "--model", MODEL, output=tmp_path / "out")
    assert done.code == INTERRUPTED
    assert done.complaints == "beam-predict: interrupted; the run has ended, but no summary was made\n"
    assert len(done.predictions) == 1


def test_other_commands_start_nothing_that_could_be_half_done(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.inspect_model, "main", interrupted)
    assert main(["inspect"]) == INTERRUPTED
    assert capfd.readouterr().err == "beam-predict: interrupted\n"


def in_terminal(*flags: object, interrupt_at: str | None = None) -> tuple[int, str]:
    """Run the command in a terminal of its own; press Ctrl-C once when it shows something."""
    ours, its = pty.openpty()
    process = subprocess.Popen([*COMMAND, *map(str, flags)], cwd=ROOT, stdout=its, stderr=its, stdin=its)
    os.close(its)
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    shown = ""
    try:
        for chunk in read(ours):
            shown += chunk
            if interrupt_at is not None and interrupt_at in shown:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
        return process.wait(timeout=60), shown
    finally:
        watchdog.cancel()
        process.kill()
        os.close(ours)


def read(descriptor: int) -> Iterator[str]:
    while True:
        try:
            chunk = os.read(descriptor, 4096)
        except OSError:  # how Linux tells that the other side has gone
            return
        if not chunk:
            return
        yield chunk.decode(errors="replace")


def wait_until(condition: object, seconds: float = 60) -> bool:
    event = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if callable(condition) and condition():
            return True
        event.wait(0.05)
    return False


@pytest.fixture(autouse=True)
def _no_progress_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.FOLDER_VARIABLE, raising=False)
