"""Which version of its model a server is asked for, so that each record names the one that made it.

TensorFlow Serving's REST API does not say in an answer which version has given it. So the version is asked
once, and then each request names it. A server may drop a version when it has a newer one: then, and every
`poll_seconds`, it is asked again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from transforms.predictors.base import Signature
from transforms.predictors.remote.request_report import RequestTally
from transforms.predictors.remote.wire import CallFailed, Metadata

_LOGGER = logging.getLogger(__name__)


class ServedVersion:
    """The version to ask for; used by any number of threads.

    Args:
        version: The version at launch.
        signature: What a version must have to be taken.
        ask: Asks the server what it has.
        tally: Counts the versions that take over, and those that cannot.
        poll_seconds: How often to ask for a newer one; 0 for only when the present one is gone.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self,
        version: str,
        signature: Signature,
        ask: Callable[[], Metadata],
        tally: RequestTally,
        *,
        poll_seconds: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._version = version
        self._signature = signature
        self._ask = ask
        self._tally = tally
        self._refused: str | None = None
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._asked = clock()
        self._asking = threading.Lock()

    def current(self) -> str:
        """Return the version to ask for now."""
        if self._is_due() and self._asking.acquire(blocking=False):  # the others go on with what they have
            try:
                if self._is_due():
                    self._look()
            finally:
                self._asking.release()
        return self._version

    def after(self, lost: str) -> str | None:
        """Return the version to ask for in the place of one that the server has no longer; None if none."""
        with self._asking:
            if self._version == lost:  # else another thread has been here
                self._look()
            return None if self._version == lost else self._version

    def _is_due(self) -> bool:
        return bool(self._poll_seconds) and self._clock() - self._asked >= self._poll_seconds

    def _look(self) -> None:
        self._asked = self._clock()
        try:
            found = self._ask()
        except CallFailed as error:
            _LOGGER.warning("the server does not tell its version, and %s stays: %s", self._version, error)
            return
        version = found.model_version
        if version is None or version == self._version:
            return
        signature = found.signatures.get(self._signature.name)
        if signature == self._signature:
            _LOGGER.warning("version %s takes over from %s", version, self._version)
            self._version = version
            self._tally.count_version_swap()
        elif version != self._refused:  # it is told once
            _LOGGER.error(
                "version %s is not taken, for its signature is %s; it must be %s",
                version,
                signature,
                self._signature,
            )
            self._refused = version
            self._tally.count_version_refused()
