"""What has become of requests, as it is counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RequestReport:
    """What has become of requests in some time.

    Attributes:
        requests: How many were sent, those that were sent again included.
        retries: How many of them were sent again.
        throttled_seconds: How long threads have waited, added up, because the server has asked for it,
            because it rejects most requests, or because too much was sent again; not mere backoff.
        failures: How many had no usable answer, by `CallFailed.status`.
        version_swaps: How often another version of the served model was asked for from then on.
        versions_refused: How many versions that the server has were not taken.
    """

    requests: int = 0
    retries: int = 0
    throttled_seconds: float = 0.0
    failures: Mapping[str, int] = field(default_factory=dict)
    version_swaps: int = 0
    versions_refused: int = 0


class RequestTally:
    """Counts what becomes of requests; used by any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear()

    def count_request(self, *, again: bool) -> None:
        """Count a request that is sent, for the first time or again."""
        with self._lock:
            self._requests += 1
            self._retries += again

    def count_failure(self, status: str) -> None:
        """Count a request that has no usable answer."""
        with self._lock:
            self._failures[status] += 1

    def count_throttled(self, seconds: float) -> None:
        """Count time that a thread has waited for the server's sake."""
        with self._lock:
            self._throttled_seconds += seconds

    def count_version_swap(self) -> None:
        """Count another version of the served model that is asked for from now on."""
        with self._lock:
            self._version_swaps += 1

    def count_version_refused(self) -> None:
        """Count a version that the server has, and that cannot be asked for."""
        with self._lock:
            self._versions_refused += 1

    def take(self) -> list[RequestReport]:
        """Return what was counted since this was last called: one report, or none where there is nothing."""
        with self._lock:
            report = RequestReport(
                self._requests,
                self._retries,
                self._throttled_seconds,
                dict(self._failures),
                self._version_swaps,
                self._versions_refused,
            )
            self._clear()
        return [] if report == RequestReport() else [report]

    def _clear(self) -> None:
        self._requests = 0
        self._retries = 0
        self._throttled_seconds = 0.0
        self._failures: Counter[str] = Counter()
        self._version_swaps = 0
        self._versions_refused = 0
