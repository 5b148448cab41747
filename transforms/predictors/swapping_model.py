"""A model that is swapped for its newer versions while it is used, between two batches.

A newer version is taken when all of this holds:

1. It is complete (see `completeness`), and its files were the same at two looks in a row.
2. It has the signature and the kind of input that the pipeline was started with, from which the schema of
   what is written follows. Only the input that takes the item may have another name: Keras numbers inputs
   without a name, so that the same model made twice has two.
3. It loads, is warmed up, and predicts on an item that the present version has predicted on.

A version that is complete and fails is reported once, and tried again when its files change; the present
one goes on. A model is loaded first with the version that the pipeline was started with, which newer ones
follow at the next looks. Where that one is gone or does not work, there is no version to go on: so another
that works is taken after one look, an older one if there is any.
"""

from __future__ import annotations

import atexit
import copy
import functools
import gc
import logging
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from transforms.errors import ModelError, ReadError, is_retryable
from transforms.predictors.base import Outcome, Predictor, Signature
from transforms.predictors.contract import predict_checked
from transforms.predictors.interpreter import giving_way, keep_collections_short
from transforms.predictors.polling import PolledPredictor
from transforms.predictors.serving_model import Loaded, Refused, ServingModel, Swapped
from transforms.predictors.versions import Version
from transforms.records import FileBytes, FileRef

SECONDS_TO_LEAVE = 60.0
"""The longest that is waited for the old version's last batch, before its memory is freed."""

_LOGGER = logging.getLogger(__name__)


def serve(predictor: Predictor, batch_size: int) -> ServingModel:
    """Make a model to be used; nothing is loaded yet.

    Args:
        predictor: One version, or a `PolledPredictor`.
        batch_size: The size of the batches that it will be used with.

    Example:
        >>> model = serve(open_newest(VersionedModel("models/digits", open_model), poll_seconds=60), 32)
        >>> model.load()
        >>> watch = model.watch()
        >>> model.current().predict(batch)
    """
    if isinstance(predictor, PolledPredictor):
        return SwappingModel(predictor, batch_size)
    return ServingModel(predictor, batch_size)


class SwappingModel(ServingModel):
    """The newest version of a model that works.

    `load` comes first; then all may be called by many threads.
    """

    def __init__(self, predictor: PolledPredictor, batch_size: int) -> None:
        super().__init__(predictor, batch_size)
        self._polled = predictor
        self._launched = int(predictor.model_version)
        self._number = -1
        self._seen: dict[int, Sequence[FileRef]] = {}
        self._refused: dict[int, Sequence[FileRef]] = {}
        self._sample: FileBytes | None = None
        self._told: dict[str, str] = {}
        self._watch: weakref.ref[Watch] | None = None
        self._watching = threading.Lock()
        self._looking = threading.Lock()

    def load(self) -> None:
        """Load and warm up the version of the launch, or else another that works.

        Raises:
            ModelError: None does.
        """
        start = time.monotonic()
        versions = self._listed()
        self._seen = {version.number: version.files for version in versions}
        for version in sorted(versions, key=self._preference):
            made = self._made(version)
            if made is not None:
                self._current, self._number = made[0], version.number
                warm_up_seconds = made[1].warm_up_seconds
                self._events.append(Loaded(time.monotonic() - start - warm_up_seconds, warm_up_seconds))
                return
        reasons = "".join(f"\n    {subject}: {problem}" for subject, problem in self._told.items())
        raise ModelError(f"--model {self._polled.model} has no version that works:{reasons}")

    def look(self) -> bool:
        """Look for a newer version, and swap if there is one that works.

        Returns:
            Whether it was swapped; not, while another thread is looking.
        """
        if not self._looking.acquire(blocking=False):  # it may be loading: a third model would be in memory
            return False
        try:
            return self._look()
        finally:
            self._looking.release()

    def _look(self) -> bool:
        versions = self._listed()
        settled = [version for version in versions if self._seen.get(version.number) == version.files]
        self._seen = {version.number: version.files for version in versions}
        for version in settled:
            if self._refused.get(version.number) == version.files:
                continue
            with giving_way():
                made = self._made(version)
            if made is not None:
                self._swap(version, made[0])
                return True
        return False

    def observe(self, batch: Sequence[FileBytes], outcomes: Sequence[Outcome | Exception]) -> None:
        """Keep an item that was predicted on, to try newer versions with."""
        predicted = (item for item, outcome in zip(batch, outcomes, strict=True) if _has_outputs(outcome))
        self._sample = next(predicted, self._sample)

    def watch(self) -> Watch:
        """See `ServingModel.watch`; there is one thread, however often this is called."""
        with self._watching:
            watch = self._watch() if self._watch else None
            if watch is None:
                watch = Watch(self, self._polled.seconds)
                self._watch = weakref.ref(watch)
            return watch

    def _preference(self, version: Version) -> tuple[bool, int]:
        """Order versions from that of the launch down to the oldest, and then from there up to the newest.

        Those that have come since were not there at an earlier look, so they may still be copied.
        """
        is_newer = version.number > self._launched
        return is_newer, version.number if is_newer else -version.number

    def _listed(self) -> list[Version]:
        try:
            return self._polled.versions.newer_than(self._number)
        except Exception as error:  # whatever it is, the present version goes on
            self._tell("its versions", f"cannot be listed: {error}")
            return []

    def _made(self, version: Version) -> tuple[Predictor, Loaded] | None:
        """Make a predictor of a version, ready to take over; None where that is not possible."""
        subject = f"version {version.number}"
        try:
            problem = version.incompleteness()
            if problem is None:
                return self._tried(version)
            self._tell(subject, f"is not complete: {problem}")
        except Exception as error:  # a model may raise anything
            if _may_pass(error):
                self._tell(subject, f"cannot be had at present: {error}")
            else:
                self._refused[version.number] = version.files
                self._events.append(Refused(version.number))
                self._tell(subject, f"is broken, and not used: {error}")
        return None

    def _tried(self, version: Version) -> tuple[Predictor, Loaded]:
        keep_collections_short(needs_tensorflow=not version.path.endswith(".tflite"))
        predictor = self._opened(version)
        self._check(predictor)
        loaded = self._make_ready(predictor)
        if self._sample is not None:
            _try_out(predictor, self._sample, self._batch_size)
        return predictor, loaded

    def _opened(self, version: Version) -> Predictor:
        if version.number == self._launched:
            return copy.copy(self._polled.predictor)  # which sees that its content is still the same
        return self._polled.versions.open(version)

    def _check(self, predictor: Predictor) -> None:
        """See that a version can take the place of the one at launch.

        Raises:
            ModelError: It cannot.
        """
        wanted = self._polled
        if predictor.input_kind != wanted.input_kind:
            raise ModelError(
                f"its input_kind is {predictor.input_kind}; the pipeline was started with {wanted.input_kind}"
            )
        if _interface(predictor, predictor.signature) != _interface(wanted, wanted.signature):
            raise ModelError(
                f"its signature is {predictor.signature}; the pipeline was started with {wanted.signature}"
            )

    def _swap(self, version: Version, predictor: Predictor) -> None:
        left = threading.Event()
        weakref.finalize(self.current(), left.set).atexit = False
        _WAITED_FOR.add(left)
        self._current, self._number = predictor, version.number
        self._refused = {number: files for number, files in self._refused.items() if number > version.number}
        self._events.append(Swapped(version.number))
        _LOGGER.info("%s: version %s has taken over", self._polled.model, version.number)
        if not _ENDING.is_set():
            left.wait(SECONDS_TO_LEAVE)
        gc.collect()  # TensorFlow's objects refer to each other

    def _tell(self, subject: str, problem: str) -> None:
        """Log a problem, but not the same one at each look."""
        if self._told.get(subject) != problem:
            _LOGGER.warning("--model %s: %s %s", self._polled.model, subject, problem)
        self._told[subject] = problem


class Watch:
    """Lets a model look for newer versions, in a thread that ends when nobody holds this or the model."""

    def __init__(self, model: SwappingModel, seconds: float) -> None:
        stop = threading.Event()
        weakref.finalize(self, stop.set)
        _WAITED_FOR.add(stop)
        _end_looks_at_exit()
        arguments = (weakref.ref(model), seconds, stop)
        thread = threading.Thread(target=_look, args=arguments, name="model versions", daemon=True)
        _LOOKING.add(thread)
        thread.start()


def _look(reference: weakref.ref[SwappingModel], seconds: float, stop: threading.Event) -> None:
    while not stop.wait(seconds):
        model = reference()
        if model is None:
            return
        model.look()
        del model


_ENDING = threading.Event()
_WAITED_FOR: weakref.WeakSet[threading.Event] = weakref.WeakSet()
_LOOKING: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@functools.cache
def _end_looks_at_exit() -> None:
    """Let the process end after the looks that are under way; once for a process.

    A thread that comes back from TensorFlow when the interpreter has ended aborts the process. The first
    watch comes after TensorFlow's import, so this goes before what TensorFlow does at the end.
    """
    atexit.register(_end_looks)


def _end_looks() -> None:
    for event in (_ENDING, *_WAITED_FOR):
        event.set()
    for thread in list(_LOOKING):
        thread.join()


def _interface(predictor: Any, signature: Signature) -> Signature:
    """Return the signature, with no name for the input that takes the item."""
    while hasattr(predictor, "predictor"):  # of what wraps it
        predictor = predictor.predictor
    item = predictor.feed.item.name if hasattr(predictor, "feed") else None
    inputs = (replace(spec, name="") if spec.name == item else spec for spec in signature.inputs)
    return replace(signature, inputs=tuple(sorted(inputs, key=lambda spec: spec.name)))


def _try_out(predictor: Predictor, sample: FileBytes, batch_size: int) -> None:
    outcome = predict_checked(predictor, [sample] * batch_size)[0]
    # The file of a name may be gone by now, for which no version is to blame.
    if isinstance(outcome, Exception) and not isinstance(outcome, ReadError):
        raise ModelError(f"it fails on {sample.ref.uri}, unlike the present one: {outcome}") from outcome


def _has_outputs(outcome: Outcome | Exception) -> bool:
    return isinstance(outcome, Mapping)


def _may_pass(error: BaseException | None) -> bool:
    """Tell whether a version may work later, unchanged: because the storage did not answer, say."""
    return error is not None and (is_retryable(error) or _may_pass(error.__cause__))
