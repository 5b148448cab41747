"""Running steps on Beam's local runner, and looking at what they return as plain lists."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

_COLLECTED: dict[int, list[Any]] = {}
_COLLECTING = threading.Lock()


@contextlib.contextmanager
def local_pipeline(*flags: str) -> Iterator[beam.Pipeline]:
    """Yield a pipeline that runs, in this process unless flags say otherwise, when the block ends."""
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(flags)) as pipeline:
        yield pipeline


def collect(collection: PCollection[Any]) -> list[Any]:
    """Return a list that has the collection's elements, in order of arrival, when the pipeline has run."""
    return _collected(collection, lambda value, timestamp, window: value)


def collect_with_times(collection: PCollection[Any]) -> list[Any]:
    """Return a list that has each element with its timestamp and its window when the pipeline has run."""
    return _collected(collection, lambda value, timestamp, window: (value, timestamp, window))


def _collected(collection: PCollection[Any], shape: Any) -> list[Any]:
    with _COLLECTING:
        key = len(_COLLECTED)
        _COLLECTED[key] = []
    _ = collection | f"Collect{key}" >> beam.ParDo(_Collect(key, shape))
    return _COLLECTED[key]


class _Collect(beam.DoFn):
    def __init__(self, key: int, shape: Any) -> None:
        self._key = key
        self._shape = shape

    def process(
        self, value: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> None:
        with _COLLECTING:
            _COLLECTED[self._key].append(self._shape(value, timestamp, window))
