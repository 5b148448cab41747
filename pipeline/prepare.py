"""Making the outputs ready, when everything has been checked."""

from __future__ import annotations

from apache_beam.options.pipeline_options import PipelineOptions

from options import SinkOptions
from options.destinations import Destination, Table
from transforms import storage
from transforms.predictors.base import Signature
from transforms.records import DeadLetter, Prediction
from transforms.schemas import Record
from transforms.sinks.bigquery_tables import create_table, differences
from transforms.sinks.to_files import incomplete_files, written_files


def prepare_outputs(options: PipelineOptions, signature: Signature) -> None:
    """Delete what an earlier run has left, where that is asked for, and create the tables that are not there.

    Raises:
        ConfigurationError: A table cannot be created.
    """
    sink = options.view_as(SinkOptions)
    if sink.overwrite:
        _delete_earlier(sink)
    records: list[tuple[type[Record], Destination]] = [(Prediction, output) for output in sink.outputs]
    records += [(DeadLetter, output) for output in sink.dead_letter_outputs]
    for record_type, output in records:
        if isinstance(output, Table) and differences(output.name, record_type, signature) is None:
            create_table(output.name, record_type, signature)


def _delete_earlier(sink: SinkOptions) -> None:
    for prefix in sink.files:
        for uri in [*written_files(prefix), *incomplete_files(prefix)]:
            storage.delete(uri)
    if sink.summary_file:
        storage.delete(sink.summary_file)
