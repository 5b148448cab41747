"""Can the outputs be written? Checked on the launching machine."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterator

from apache_beam.options.pipeline_options import PipelineOptions

from options import SinkOptions, SourceOptions
from options.destinations import Destination, Table, Topic
from pipeline.preflight_pubsub import missing_topic
from pipeline.write_errors import why
from transforms import storage
from transforms.errors import ConfigurationError
from transforms.predictors.base import Signature
from transforms.records import DeadLetter, Prediction
from transforms.schemas import Record
from transforms.sinks.bigquery_tables import TableName, differences
from transforms.sinks.to_files import written_files


def output_problems(options: PipelineOptions, signature: Callable[[], Signature | None]) -> Iterator[str]:
    """Tell what is wrong with the outputs.

    Args:
        options: Those of the job.
        signature: Returns the predictor's, or None where the model is wrong already; asked for tables only.
    """
    sink = options.view_as(SinkOptions)
    yield from _files(sink, adds=options.view_as(SourceOptions).is_streaming)
    own = "--dead_letters" if sink.dead_letters else "--output"
    outputs: list[tuple[str, type[Record], Destination]] = [
        ("--output", Prediction, output) for output in sink.outputs
    ]
    outputs += [(own, DeadLetter, output) for output in sink.dead_letter_outputs]
    for flag, record_type, output in outputs:
        if isinstance(output, Topic):
            yield from missing_topic(flag, output.path)
        if isinstance(output, Table):
            yield from _table(flag, output.name, record_type, signature())


def _files(sink: SinkOptions, adds: bool) -> Iterator[str]:
    yield from _unwritable(sink)
    earlier = [uri for prefix in sink.files for uri in _earlier(prefix)] + _earlier_summary(sink)
    if earlier and not adds and not sink.overwrite:
        yield (
            f"--output: an earlier run has left {', '.join(earlier)}; give another folder, or pass "
            "--overwrite to delete what it left"
        )


def _unwritable(sink: SinkOptions) -> Iterator[str]:
    """Tell of one place for each flag: what else it writes lies beside that."""
    told = set()
    for prefix, flag in sink.files.items():
        if flag not in told:
            problems = list(_not_writable(flag, prefix))
            told |= {flag} if problems else set()
            yield from problems


def _not_writable(flag: str, prefix: str) -> Iterator[str]:
    probe = f"{prefix}-{uuid.uuid4().hex}.probe"
    try:
        storage.create(probe).close()
        storage.delete(probe)
    except Exception as error:  # each file system raises its own
        reason = why(error, prefix)
        yield f"{flag}: {prefix}-* cannot be written ({reason}); give a folder that you may write to"


def _earlier(prefix: str) -> list[str]:
    """Name one of the files that an earlier run wrote, if there are any."""
    with contextlib.suppress(Exception):  # what cannot be listed is told by _not_writable
        return list(itertools.islice(written_files(prefix), 1))
    return []


def _earlier_summary(sink: SinkOptions) -> list[str]:
    file = sink.summary_file
    with contextlib.suppress(Exception):
        return [file] if file and storage.exists(file) else []
    return []


def _table(
    flag: str, name: TableName, record_type: type[Record], signature: Signature | None
) -> Iterator[str]:
    if signature is None:
        return
    try:
        found = differences(name, record_type, signature)
    except ConfigurationError as error:
        yield f"{flag}: {error}"
        return
    for difference in found or ():
        yield f"{flag}: table {name} {difference}"
