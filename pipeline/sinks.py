"""From options to where the records go."""

from __future__ import annotations

from apache_beam.options.pipeline_options import PipelineOptions

from options import SinkOptions, SourceOptions
from options.checks import bigquery_method
from options.destinations import Destination, Files, Table
from transforms.predictors.base import Signature
from transforms.records import DeadLetter, Prediction
from transforms.schemas import Record, arrow_schema
from transforms.sinks.to_all import Sink, ToAll
from transforms.sinks.to_bigquery import FILE_LOADS, ToBigQuery
from transforms.sinks.to_files import ToFiles
from transforms.sinks.to_pubsub import ToPubSub

_FILE_NAMES: dict[type[Record], str] = {Prediction: "predictions", DeadLetter: "dead_letters"}


def make_sinks(options: PipelineOptions, record_type: type[Record], signature: Signature) -> ToAll:
    """Make what writes predictions, or dead letters, to all their outputs.

    Raises:
        ModelError: An output of the signature cannot be written there.
    """
    sink = options.view_as(SinkOptions)
    outputs = sink.outputs if record_type is Prediction else sink.dead_letter_outputs
    return ToAll([_sink(output, options, record_type, signature) for output in outputs])


def _sink(
    output: Destination, options: PipelineOptions, record_type: type[Record], signature: Signature
) -> Sink:
    sink, streaming = options.view_as(SinkOptions), options.view_as(SourceOptions).is_streaming
    if isinstance(output, Files):
        return ToFiles(
            output.prefix(_FILE_NAMES[record_type]),
            sink.output_format,
            arrow_schema(record_type, signature),
            sink.window if streaming else None,
        )
    if isinstance(output, Table):
        method = bigquery_method(options)
        loads_on_and_on = streaming and method == FILE_LOADS
        load_seconds = sink.bigquery_load_interval if loads_on_and_on else None
        return ToBigQuery(output.name, record_type, signature, method, load_seconds)
    return ToPubSub(output.path)
