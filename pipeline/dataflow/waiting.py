"""Waiting for a job in batch: its states, its warnings and errors, and how far it is, until it has ended.

Beam's own waiting tells nothing but by logs that are not shown, and gives up when Dataflow is away for some
minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.dataflow.api import NoCredentials, WatchedJob, find_credentials
from pipeline.dataflow.job_messages import in_one_line, reasons
from pipeline.dataflow.service_errors import ERRORS, passes, reason
from pipeline.exit_codes import Ended

POLL_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
PROGRESS_SECONDS = 300.0
REASON_SECONDS = 50.0
"""Why a job has failed is told some 30 s after it has."""

_NOT_FOUND_YET = 12  # times that a new job may be unknown
_DOUBLINGS = 6
_UNKNOWN, _FAILED, _DONE = "UNKNOWN", "FAILED", "DONE"
_ENDS = {
    _DONE: "is done",
    _FAILED: "has failed",
    "CANCELLED": "was cancelled",
    "DRAINED": "was drained",
    "UPDATED": "was replaced by an update, which goes on",
}


def wait(job_id: str, cloud: GoogleCloudOptions, progress: Callable[[], str | None]) -> None:
    """Wait until a job has ended, however long that takes, and tell what becomes of it.

    While Dataflow does not answer, it is asked again and again: the job goes on all the same. Ctrl-C ends the
    waiting, but for that of a job that has ended: only for the reason is waited then.

    Args:
        job_id: Of the job.
        cloud: Where it runs.
        progress: Tells how far it is; None where that is not known.

    Raises:
        Ended: It has not succeeded, or may not be watched any more.
        KeyboardInterrupt: It goes on.
    """
    watch = _Watch(job_id, lambda: WatchedJob(job_id, cloud, find_credentials(cloud)))
    try:
        watch.until_the_end(progress)
    except KeyboardInterrupt:
        if watch.state not in _ENDS:
            raise
    finally:
        watch.close()
    if watch.state != _DONE:
        raise Ended(_ending(job_id, watch, cloud))


class _Watch:
    """What was told of a job so far."""

    def __init__(self, job_id: str, connect: Callable[[], WatchedJob]) -> None:
        self.state = _UNKNOWN
        self.errors: list[str] = []
        self._job_id = job_id
        self._connect = connect
        self._job: WatchedJob | None = None
        self._told: set[str] = set()
        self._since: datetime | None = None
        self._failures = 0

    def until_the_end(self, progress: Callable[[], str | None]) -> None:
        told = time.monotonic()
        self._look()
        while self.state not in _ENDS:
            time.sleep(min(POLL_SECONDS * 2 ** min(self._failures, _DOUBLINGS), LONGEST_PAUSE_SECONDS))
            self._look()
            if time.monotonic() - told >= PROGRESS_SECONDS and self.state not in _ENDS:
                told = time.monotonic()
                _print(progress())
        if self.state == _FAILED and not self.errors:
            self._await_reason()

    def close(self) -> None:
        """End the connections."""
        if self._job is not None:
            self._job.close()

    def _await_reason(self) -> None:
        _print(f"Dataflow tells the reason soon; it is waited for, for up to {REASON_SECONDS:g} s")
        ended = time.monotonic()
        while not self.errors and time.monotonic() - ended < REASON_SECONDS:
            time.sleep(POLL_SECONDS)
            self._look()

    def _look(self) -> None:
        try:
            self._job = self._job or self._connect()
            job, complaints = self._job.now(), self._job.complaints(self._since)
        except (*ERRORS, NoCredentials) as error:
            self._note(error)
            return
        if self._failures:
            _print("Dataflow answers again")
        self._failures = 0
        for complaint in complaints:
            self._tell(complaint)
        state = job.current_state.name.removeprefix("JOB_STATE_")
        if state != self.state:
            self.state = state
            _print(state.lower().replace("_", " "))

    def _tell(self, complaint: Any) -> None:
        """Tell a warning or an error, once: what fails is tried again, and fails in the same way."""
        self._since = complaint.time
        line = in_one_line(complaint.message_text)
        if line in self._told:
            return
        self._told.add(line)
        is_error = complaint.message_importance.name == "JOB_MESSAGE_ERROR"
        self.errors += [line] if is_error else []
        at = complaint.time.astimezone().strftime("%H:%M:%S")
        print(f"{at} {'error' if is_error else 'warning'}: {line}", file=sys.stderr, flush=True)

    def _note(self, error: Exception) -> None:
        """Tell that Dataflow does not answer, at first; end the waiting where that will stay so."""
        new = self.state == _UNKNOWN and self._failures < _NOT_FOUND_YET
        if not passes(error, new):
            raise Ended(
                f"job {self._job_id} {self._as_known()}, but Dataflow no longer tells of it: {reason(error)}"
            ) from error
        if not self._failures:
            _print(f"Dataflow does not answer, and is asked again: {reason(error)}")
        self._failures += 1

    def _as_known(self) -> str:
        return _ENDS.get(self.state, "goes on")


def _ending(job_id: str, watch: _Watch, cloud: GoogleCloudOptions) -> str:
    told = "".join(f"\n  {reason}" for reason in reasons(watch.errors))
    logs = (
        f'its logs: gcloud logging read \'resource.type="dataflow_step" resource.labels.job_id="{job_id}" '
        f"severity>=ERROR' --project={cloud.project} --limit=20"
    )
    return f"job {job_id} {_ENDS[watch.state]}{':' if told else ''}{told}\n{logs}"


def _print(line: str | None) -> None:
    if line is not None:
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
