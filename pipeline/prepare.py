"""Making the outputs ready, when everything has been checked."""

from __future__ import annotations

import functools
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from apache_beam.options.pipeline_options import PipelineOptions

from options import SinkOptions
from options.destinations import Destination, Table
from pipeline.write_errors import why
from transforms import storage
from transforms.predictors.base import Signature
from transforms.predictors.daemon_pool import DaemonPool
from transforms.records import DeadLetter, Prediction
from transforms.schemas import Record
from transforms.sinks.bigquery_tables import create_table, differences
from transforms.sinks.to_files import incomplete_files, written_files

_AT_ONCE = 16
_NAMES_IN_A_COMMAND = 50


@dataclass(frozen=True)
class _Remover:
    """What deletes files of a kind: given their names, or a file of them, and what ends each name there."""

    of_names: str
    of_list: str
    end: str


_REMOVERS = {
    "local": _Remover("rm --", "xargs -0 rm -- <", "\0"),  # macOS has this form too
    "gs": _Remover("gcloud storage rm", "gcloud storage rm --read-paths-from-stdin <", "\n"),
}
_ANOTHER = "(with the tool of that storage)"


class NotDeleted(Exception):
    """Files of an earlier run are still there; the message tells why, and what deletes them.

    Its cause is a KeyboardInterrupt where its user has not waited for it.
    """

    def __init__(self, files: Sequence[str], reason: str) -> None:
        self.files = tuple(files)
        commands = "".join(f"\n  {command}" for command in _commands(files))
        super().__init__(
            f"--overwrite: {len(files):,} of the files that an earlier run has left are still there "
            f"({reason}); this deletes them:{commands}"
        )


def prepare_outputs(options: PipelineOptions, signature: Signature) -> list[str]:
    """Create the tables that are not there, and list what `--overwrite` is to delete.

    Returns:
        The files that an earlier run has left, for `delete_earlier`; none without `--overwrite`.

    Raises:
        ConfigurationError: A table cannot be created.
    """
    sink = options.view_as(SinkOptions)
    records: list[tuple[type[Record], Destination]] = [(Prediction, output) for output in sink.outputs]
    records += [(DeadLetter, output) for output in sink.dead_letter_outputs]
    for record_type, output in records:
        if isinstance(output, Table) and differences(output.name, record_type, signature) is None:
            create_table(output.name, record_type, signature)
    return list(_earlier_files(sink)) if sink.overwrite else []


def delete_earlier(files: Sequence[str]) -> None:
    """Delete what `prepare_outputs` has listed, and nothing else.

    The new job may have begun by now. What it writes cannot have a listed name, since there is a random part
    in each (`transforms.sinks.to_files`); the summary, which has none, is written when a job has ended.

    Raises:
        NotDeleted: Some are left.
        KeyboardInterrupt: None is left, and somebody has interrupted.
    """
    pool = DaemonPool(_AT_ONCE, "delete-earlier")
    futures: dict[str, Future[None]] = {}
    try:
        for uri in files:
            futures[uri] = pool.submit(functools.partial(storage.delete, uri))
        failed = {uri: error for uri, future in futures.items() if (error := future.exception())}
    except KeyboardInterrupt as interrupt:
        left = [uri for uri in files if not _is_deleted(futures.get(uri))]
        if not left:
            raise
        raise NotDeleted(left, "interrupted") from interrupt
    finally:
        pool.close()
    if failed:
        first, error = next(iter(failed.items()))
        raise NotDeleted(list(failed), why(error, first)) from error


def _is_deleted(future: Future[None] | None) -> bool:
    return future is not None and future.done() and future.exception() is None


def _earlier_files(sink: SinkOptions) -> Iterator[str]:
    for prefix in sink.files:
        yield from written_files(prefix)
        yield from incomplete_files(prefix)
    if sink.summary_file and storage.exists(sink.summary_file):
        yield sink.summary_file


def _commands(files: Sequence[str]) -> Iterator[str]:
    """Yield what deletes files, in a line that a shell takes for each kind of storage."""
    by_kind: dict[str, list[str]] = {}
    for uri in files:
        kind = "local" if storage.is_local(uri) else uri.partition("://")[0].lower()
        by_kind.setdefault(kind, []).append(uri)
    for kind, names in by_kind.items():
        remover = _REMOVERS.get(kind, _Remover(_ANOTHER, _ANOTHER, "\n"))
        if len(names) <= _NAMES_IN_A_COMMAND:
            yield f"{remover.of_names} {shlex.join(names)}"
        else:
            yield f"{remover.of_list} {shlex.quote(_listed(names, remover.end))}"


def _listed(names: Sequence[str], end: str) -> str:
    """Write names to a file that stays, since a pattern would take the new job's files with them."""
    descriptor, path = tempfile.mkstemp(prefix="beam-predict-to-delete-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}{end}" for name in names)
    return path
