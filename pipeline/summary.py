"""What a run tells at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from options import SinkOptions
from options.destinations import Destination, Files
from pipeline.counts import PERCENTILES, Counts, below, median, percentiles, share_of
from transforms import buckets, storage
from transforms import metric_table as metrics
from transforms.predictors.base import Predictor

_WHOLE_FROM = 10


_SHOWN_SECONDS = 0.05  # an endpoint has nothing to load


@dataclass(frozen=True)
class Summary:
    """The end of a run, in numbers.

    Attributes:
        inputs: Files that were listed, lines that name none, and messages.
        skipped: Inputs that need no prediction: their number by the reason, as `duplicate`.
        predictions: Inputs that have one.
        dead_letters: Inputs that have none: their number by stage and error, as `read/FileMissing`. Those of
            the stage `write` have a prediction that an output has refused.
        unaccounted: Inputs that are none of these; anything but 0 is a defect of this program.
        batches: Batches that were predicted on.
        median_batch_size: In files; None without batches.
        batch_fill: The files in the batches as a share of those that would be in them, were all full; None
            without batches.
        predict_seconds: How long the model, or the endpoint, took for a batch: the `median`, and what 95
            (`p95`) and 99 percent (`p99`) do not exceed. Each may be wrong by 19 percent. Empty without
            batches.
        arrival_to_prediction_seconds: The same of the time from the publishing of a message, or from the
            first listing of a watched file, to its prediction. Empty but in streaming.
        model: Where the model was loaded from.
        model_version: Which model it was; of several versions, the one at the start.
        signature: The signature that was called.
        engines: Where others than TensorFlow were tried: the number of worker processes by the engine that
            computes.
        engine_speedups: TensorFlow's time by that of each engine that was tried, in the mean.
        engines_refused: The number of worker processes by the engine that cannot be used.
        version_swaps: How often a newer version of the model has taken over, counted in each process.
        versions_refused: How often one was refused, because it is broken.
        requests: Requests to an endpoint, with those that were sent again.
        retries: Requests that were sent again.
        request_failures: Requests without a usable answer: their number by what came instead, as `503`.
        throttled_seconds: How long threads have waited, added up, because the endpoint has too much to do.
        model_loads: Worker processes that loaded it; machines, where they share it.
        model_load_seconds: The longest load.
        warm_up_seconds: The longest warm-up.
        seconds: The whole run.
        files_per_second: Predictions by the seconds of the whole run.
        bytes_per_second: Bytes read by the seconds of the whole run.
        outputs: Where the predictions went: the patterns of files, tables, topics.
        dead_letters_outputs: Where the dead letters went.
    """

    inputs: int
    skipped: dict[str, int]
    predictions: int
    dead_letters: dict[str, int]
    unaccounted: int
    batches: int
    median_batch_size: float | None
    batch_fill: float | None
    predict_seconds: dict[str, float]
    arrival_to_prediction_seconds: dict[str, float]
    model: str
    model_version: str
    signature: str
    engines: dict[str, int]
    engine_speedups: dict[str, float]
    engines_refused: dict[str, int]
    version_swaps: int
    versions_refused: int
    requests: int
    retries: int
    request_failures: dict[str, int]
    throttled_seconds: float
    model_loads: int
    model_load_seconds: float
    warm_up_seconds: float
    seconds: float
    files_per_second: float
    bytes_per_second: float
    outputs: list[str]
    dead_letters_outputs: list[str]

    @classmethod
    def of(cls, result: Any, predictor: Predictor, *, seconds: float, sink: SinkOptions) -> Summary:
        """Sum up a run from what its runner counted.

        Args:
            result: A Beam `PipelineResult` of a run that has ended.
            predictor: The predictor that ran.
            seconds: How long the run took.
            sink: Where the records went.
        """
        counts = Counts.of(result)
        dead_letters = counts.below(metrics.DEAD_LETTERS)
        batch_sizes = {int(size): count for size, count in counts.below(metrics.BATCH_SIZE).items()}
        inputs, predictions = counts.get(metrics.INPUTS), counts.get(metrics.PREDICTIONS)
        skipped = counts.below(metrics.SKIPPED)
        return cls(
            inputs=inputs,
            skipped=skipped,
            predictions=predictions,
            dead_letters=dead_letters,
            unaccounted=inputs - sum(skipped.values()) - predictions - _without_prediction(dead_letters),
            batches=sum(batch_sizes.values()),
            median_batch_size=median(batch_sizes),
            batch_fill=share_of(counts.get(metrics.BATCH_FILES), counts.get(metrics.BATCH_PLACES)),
            predict_seconds=percentiles(buckets.PREDICT_MSEC, counts.below(metrics.PREDICT_MSEC_LE)),
            arrival_to_prediction_seconds=percentiles(
                buckets.ARRIVAL_MSEC, counts.below(metrics.ARRIVAL_MSEC_LE)
            ),
            model=predictor.model,
            model_version=predictor.model_version,
            signature=predictor.signature.name,
            engines=counts.below(metrics.ENGINE),
            engine_speedups={
                engine: round(mean / 1_000, 2)
                for engine, mean in below(metrics.ENGINE_SPEEDUP, counts.means).items()
            },
            engines_refused=counts.below(metrics.ENGINE_REFUSED),
            version_swaps=counts.get(metrics.VERSION_SWAPS),
            versions_refused=counts.get(metrics.VERSIONS_REFUSED),
            requests=counts.get(metrics.REQUESTS),
            retries=counts.get(metrics.RETRIES),
            request_failures=counts.below(metrics.REQUEST_FAILURES),
            throttled_seconds=counts.get(metrics.THROTTLED_MSEC) / 1_000,
            model_loads=counts.get(metrics.MODEL_LOADS),
            model_load_seconds=counts.slowest_msec.get(metrics.MODEL_LOAD_MSEC, 0) / 1_000,
            warm_up_seconds=counts.slowest_msec.get(metrics.WARM_UP_MSEC, 0) / 1_000,
            seconds=round(seconds, 3),
            files_per_second=round(predictions / seconds, 1),
            bytes_per_second=round(counts.get(metrics.BYTES_READ) / seconds, 1),
            outputs=[_shown(output, "predictions", sink) for output in sink.outputs],
            dead_letters_outputs=[
                _shown(output, "dead_letters", sink) for output in sink.dead_letter_outputs
            ],
        )

    @property
    def dead_letter_count(self) -> int:
        """The number of dead letters."""
        return sum(self.dead_letters.values())

    @property
    def dead_letter_ratio(self) -> float:
        """The share of dead letters among the inputs; 0 without inputs."""
        return self.dead_letter_count / self.inputs if self.inputs else 0.0

    def write(self, uri: str) -> None:
        """Write the summary as JSON."""
        with storage.create(uri) as file:
            file.write(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def __str__(self) -> str:
        """Write the summary for a person."""
        lines = [
            ("inputs", f"{self.inputs:,}"),
            *((f"skipped, {reason}", f"{count:,}") for reason, count in sorted(self.skipped.items())),
            ("predictions", f"{self.predictions:,}"),
            ("dead letters", f"{self.dead_letter_count:,}"),
            *((f"  {kind}", f"{count:,}") for kind, count in sorted(self.dead_letters.items())),
            *([("UNACCOUNTED", f"{self.unaccounted:,}")] if self.unaccounted else []),
            ("batches", self._batches()),
            *_latency("a batch took", self.predict_seconds),
            *_latency("from arrival", self.arrival_to_prediction_seconds),
            ("model", f"{self.model} {self.signature}, version {self.model_version}"),
            *([("engine", self._engines())] if self.engines else []),
            *([("version swaps", f"{self.version_swaps:,}")] if self.version_swaps else []),
            *([("versions refused", f"{self.versions_refused:,}")] if self.versions_refused else []),
            *([("requests", self._requests())] if self.requests else []),
            *([("loaded in", self._loading())] if self.model_load_seconds >= _SHOWN_SECONDS else []),
            ("speed", self._speed()),
            *_listed("output", self.outputs),
            *_listed("dead letters in", self.dead_letters_outputs if self.dead_letters else []),
        ]
        width = max(len(name) for name, _ in lines)
        body = "\n".join(f"  {name:<{width}}  {value}" for name, value in lines)
        return f"Done in {self.seconds:.1f} s\n{body}"

    def _speed(self) -> str:
        read = f", {_bytes(self.bytes_per_second)}/s" if self.bytes_per_second else ""
        return f"{self.files_per_second:,.1f} files/s{read}"

    def _loading(self) -> str:
        return f"{self.model_load_seconds:.1f} s, warmed up in {self.warm_up_seconds:.1f} s"

    def _requests(self) -> str:
        failures = ", ".join(f"{count:,} {status}" for status, count in sorted(self.request_failures.items()))
        parts = [f"{self.requests:,}"]
        parts += [f"{self.retries:,} of them again"] if self.retries else []
        parts += [f"failed: {failures}"] if failures else []
        parts += [f"throttled for {self.throttled_seconds:,.1f} s"] if self.throttled_seconds else []
        return "; ".join(parts)

    def _engines(self) -> str:
        speeds = [f"{engine} {speed:g} times" for engine, speed in sorted(self.engine_speedups.items())]
        measured = [f"{', '.join(speeds)} the speed of tensorflow"] if speeds else []
        refused = [f"refused: {', '.join(sorted(self.engines_refused))}"] if self.engines_refused else []
        return "; ".join([", ".join(sorted(self.engines)), *measured, *refused])

    def _batches(self) -> str:
        if self.median_batch_size is None:
            return "0"
        fill = "" if self.batch_fill is None else f", {self.batch_fill:.0%} full"
        return f"{self.batches:,}, of {self.median_batch_size:g} files (median){fill}"


def _latency(title: str, seconds: Mapping[str, float]) -> list[tuple[str, str]]:
    if not seconds:
        return []
    median, p95, p99 = (_duration(seconds[name]) for name in PERCENTILES)
    return [(title, f"{median} (median), {p95} (95%), {p99} (99%)")]


def _duration(seconds: float) -> str:
    value, unit = (seconds, "s") if seconds >= 1 else (seconds * 1_000, "ms")
    return f"{value:,.0f} {unit}" if value >= _WHOLE_FROM else f"{value:.1f} {unit}"


def _without_prediction(dead_letters: Mapping[str, int]) -> int:
    return sum(count for kind, count in dead_letters.items() if not kind.startswith("write/"))


def _shown(output: Destination, name: str, sink: SinkOptions) -> str:
    return f"{output.prefix(name)}-*.{sink.output_format}" if isinstance(output, Files) else str(output)


def _listed(title: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """Make a line for each of several values, of which the first has the title."""
    return [("" if number else title, value) for number, value in enumerate(values)]


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.1f} B"
