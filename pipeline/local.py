"""Running on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineRunner
from rich.console import Console

from transforms import progress

LOCAL_RUNNERS = ("directrunner", "fnapirunner")
_SECONDS_BETWEEN_LINES = 0.5


def is_local(options: PipelineOptions) -> bool:
    """Tell whether the options ask for the runner on this machine that `local_runner` makes."""
    name = options.view_as(StandardOptions).runner
    return name is None or name.rpartition(".")[2].lower() in LOCAL_RUNNERS


def local_runner(options: PipelineOptions) -> PipelineRunner:
    """Make Beam's local runner for batch.

    Beam's `DirectRunner` chooses between three runners, one of which it would download; so the choice is
    made here.
    """
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import fn_runner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))


@contextlib.contextmanager
def shown_progress(local: bool = True) -> Iterator[None]:
    """Show on the terminal, if there is one, how far the workers on this machine are."""
    if not local or not sys.stderr.isatty():
        yield
        return
    # A descriptor of its own, since the import of TensorFlow holds back what goes to the process's.
    console = Console(file=os.fdopen(os.dup(sys.stderr.fileno()), "w"), force_terminal=True)
    with tempfile.TemporaryDirectory() as folder, _environment(progress.FOLDER_VARIABLE, folder):
        done = threading.Event()
        with console.status("starting") as status:
            watcher = threading.Thread(target=_watch, args=(folder, status, done), daemon=True)
            watcher.start()
            try:
                yield
            finally:
                done.set()
                watcher.join()


def _watch(folder: str, status: Any, done: threading.Event) -> None:
    while not done.wait(_SECONDS_BETWEEN_LINES):
        now = progress.read(folder)
        if now.predicted or now.dead:
            status.update(f"{now.predicted:,} of {now.listed:,} files predicted, {now.dead:,} dead letters")
        elif now.listed:
            status.update(f"{now.listed:,} files listed, loading the model")


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
