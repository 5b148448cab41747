"""Who shares a loaded model: the threads of a worker process, or all worker processes of a machine.

Where a machine shares it, the model is in a process of its own, and files and records are pickled on their
way there and back. That saves the memory of all copies but one, and costs the copying; what the model does
with Python code (decoding, say) is then done by that one process. The process listens on this machine only,
and trusts whoever can connect to it, which is any user of the machine: so does Beam's `MultiProcessShared`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.managers import RemoteError
from typing import Any, Literal, Protocol, cast, get_args

from apache_beam.internal import pickler
from apache_beam.utils.multi_process_shared import MultiProcessShared
from apache_beam.utils.shared import Shared

from transforms.predictors.base import Predictor
from transforms.predictors.cache_folders import cache_folder
from transforms.predictors.predict_records import predict_each, records_of
from transforms.predictors.reports import Report, new_reports
from transforms.predictors.serving_model import Event
from transforms.predictors.swapping_model import serve
from transforms.records import DeadLetter, FileBytes, Prediction

ModelSharing = Literal["process", "machine"]
"""Who shares a loaded model."""

MODEL_SHARINGS: tuple[ModelSharing, ...] = get_args(ModelSharing)

_LOGGER = logging.getLogger(__name__)
_MOST_HOSTS = 3  # that may end, one after the other, while somebody comes to them


@dataclass(frozen=True)
class Answer:
    """What became of a batch.

    Only what can be pickled: errors of a model's own have become dead letters here.

    Attributes:
        records: One for each item, in order, of one version of the model.
        seconds: How long the model took.
        events: What happened to the model since the last answer, for somebody to count.
    """

    records: Sequence[Prediction | DeadLetter]
    seconds: float
    events: Sequence[Event | Report]


class Model(Protocol):
    """A loaded model, wherever it is."""

    def answer(self, batch: Sequence[FileBytes]) -> Answer:
        """Predict on a batch, from any thread.

        Raises:
            ContractError: The predictor broke its promise.
            ModelError: The model cannot be loaded.
        """


class SharedModel(Protocol):
    """The handle under which a worker finds the model; it is pickled with the step that has it."""

    def acquire(self, predictor: Predictor, batch_size: int) -> Model:
        """Return the model, and load it if nobody has yet; to be dropped when it is needed no longer.

        Raises:
            ModelError: The model cannot be loaded.
        """


def share(sharing: ModelSharing) -> SharedModel:
    """Make a handle for one model."""
    return _OfProcess() if sharing == "process" else _OfMachine()


_kept: list[Model] = []
_keeping = threading.Event()


@contextlib.contextmanager
def last_model_kept() -> Iterator[None]:
    """Keep the model that was acquired last, for a runner that makes a step anew for each bundle.

    The step would drop the model with each bundle, and so end the looks for newer versions before the first.
    """
    _keeping.set()
    try:
        yield
    finally:
        _keeping.clear()
        _kept.clear()


def kept(model: Model) -> Model:
    """Return a model, and hold it where it is to be kept."""
    if _keeping.is_set():
        _kept[:] = [model]
    return model


class _Host:
    """Where the model is."""

    def __init__(self, predictor: Predictor, batch_size: int) -> None:
        self._model = serve(predictor, batch_size)
        self._loading = threading.Lock()
        self._is_loaded = False

    def load(self) -> None:
        with self._loading:
            if not self._is_loaded:
                self._model.load()
                self._is_loaded = True

    def watch(self) -> object:
        return self._model.watch()

    def answer(self, batch: Sequence[FileBytes]) -> Answer:
        predictor = self._model.current()
        start = time.monotonic()
        outcomes = predict_each(predictor, batch)
        seconds = time.monotonic() - start
        self._model.observe(batch, outcomes)
        records = tuple(records_of(predictor, batch, outcomes))
        return Answer(records, seconds, (*self._model.events(), *new_reports(predictor)))


class _OfProcess:
    def __init__(self) -> None:
        self._shared = Shared()

    def acquire(self, predictor: Predictor, batch_size: int) -> Model:
        def load() -> _Host:
            host = _Host(predictor, batch_size)
            host.load()
            return host

        return _Here(self._shared.acquire(load))


class _Here:
    """A model in this process.

    Beam keeps the model for later, and so no thread of its own: newer versions are looked for only while a
    step has one of these.
    """

    def __init__(self, host: _Host) -> None:
        self._host = host
        self._watch = host.watch()

    def answer(self, batch: Sequence[FileBytes]) -> Answer:
        return self._host.answer(batch)


class _OfMachine:
    def __init__(self) -> None:
        self._shared = Shared()
        self._tag = f"beam-predict-{uuid.uuid4().hex}"

    def acquire(self, predictor: Predictor, batch_size: int) -> Model:
        return cast(Model, self._shared.acquire(lambda: _Elsewhere(self._tag, predictor, batch_size)))


class _Elsewhere:
    """A model in a process that the first worker process to need it starts.

    It ends with that one, or when the last that has asked for it needs it no longer. When it ends before the
    others have done, the next to ask starts another.
    """

    def __init__(self, tag: str, predictor: Predictor, batch_size: int) -> None:
        # Pickled as Beam does it, since a predictor may be of a class that only Beam's pickler can move.
        self._make = partial(_make_remote_host, pickler.dumps(predictor), batch_size)
        self._tag = tag
        self._connecting = threading.Lock()
        self._host = self._connected()

    def answer(self, batch: Sequence[FileBytes]) -> Answer:
        host = self._host
        try:
            return cast(Answer, host.answer(batch))
        except (ConnectionError, EOFError) as error:
            _LOGGER.warning("the process that holds the model has ended (%s); asking for another", error)
        return cast(Answer, self._another_than(host).answer(batch))

    def _another_than(self, lost: Any) -> Any:
        with self._connecting:
            if self._host is lost:  # else another thread has been here
                self._host = self._connected()
            return self._host

    def _connected(self) -> Any:
        """Return a host that has loaded the model; the last who needed one may just be ending it."""
        for left in reversed(range(_MOST_HOSTS)):
            try:
                return self._entered()
            except (ConnectionError, EOFError) as error:
                if not left:
                    raise
                _LOGGER.info("the process that holds the model has ended (%r); asking for another", error)
        raise AssertionError

    def _entered(self) -> Any:
        folder = str(cache_folder())  # for a lock and an address, which are nobody else's business
        shared = MultiProcessShared(self._make, self._tag, path=folder, always_proxy=True, spawn_process=True)
        try:
            host = shared.acquire()
            host.enter()  # first of all, for from now on nobody ends it
        except (RemoteError, TypeError) as error:  # there is nothing to call: its process ends next
            raise EOFError("it is ending") from error
        leave = weakref.finalize(self, _leave, shared, host)
        leave.atexit = False  # it ends then with who started it
        try:
            host.load()
        except BaseException:
            leave()
            raise
        return host


class _RemoteHost(_Host):
    """A model in a process of its own, which watches for newer versions as long as that runs."""

    def __init__(self, predictor: Predictor, batch_size: int) -> None:
        super().__init__(predictor, batch_size)
        self._users = 0
        self._counting = threading.Lock()

    def enter(self) -> None:
        with self._counting:
            self._users += 1

    def leave(self) -> int:
        """Return how many others need the model still."""
        with self._counting:
            self._users -= 1
            return self._users

    def load(self) -> None:
        super().load()
        self._watch = self.watch()


def _leave(shared: MultiProcessShared[_RemoteHost], host: Any) -> None:
    with contextlib.suppress(ConnectionError, EOFError):  # its process has ended, or now ends
        if not host.leave():
            shared.unsafe_hard_delete()


def _make_remote_host(predictor: bytes, batch_size: int) -> _RemoteHost:
    logging.getLogger().setLevel(logging.WARNING)  # Beam asks for all that its server has to say
    return _RemoteHost(pickler.loads(predictor), batch_size)
