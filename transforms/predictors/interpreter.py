"""Python's interpreter, where a model is loaded beside one that is in use.

One thread at a time runs Python code: so a long step of one thread is a wait for all others.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
import threading
from collections.abc import Iterator

from transforms.predictors.tensorflow_runtime import import_tensorflow

SWITCH_SECONDS = 0.0005

_GIVING_WAY = threading.Lock()


@contextlib.contextmanager
def giving_way() -> Iterator[None]:
    """Let other threads have the interpreter sooner than they would get it.

    To load a model is much work in Python. A thread that wants the interpreter meanwhile gets it after the
    switch interval, and a batch wants it many times: with the usual 5 ms, some batches came 0.1 s late.
    """
    with _GIVING_WAY:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            yield
        finally:
            sys.setswitchinterval(usual)


def keep_collections_short(needs_tensorflow: bool) -> None:
    """Let the garbage collector pass over all that is there before the first model; once for a process.

    To free a model takes a collection, while which nothing else runs. It takes 0.2 s where it looks at all
    objects of TensorFlow and Beam; where it looks at what came later, 1 ms with a small model, and 0.1 s with
    MobileNetV2.

    Args:
        needs_tensorflow: Whether the model will import it.
    """
    if needs_tensorflow:
        import_tensorflow()
    _freeze()


@functools.cache
def _freeze() -> None:
    """Once only: a model that is there already could never be freed afterwards."""
    gc.collect()
    gc.freeze()
