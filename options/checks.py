"""Rules that span several groups of flags."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.runner import create_runner

from options.batching import BatchingOptions
from options.dataflow_checks import check_dataflow
from options.destinations import TABLE_MARK, TOPIC_MARK, Files, Table
from options.endpoint import EndpointOptions
from options.engine import EngineOptions
from options.flags import FlagGroup
from options.model import ModelOptions
from options.sink import SinkOptions
from options.source import SourceOptions
from transforms import storage
from transforms.sinks.to_bigquery import FILE_LOADS, STREAMING_INSERTS
from transforms.sources.from_inputs import LIST_MARK

REMOTE_RUNNER = "dataflowrunner"

_IN_BUCKET = re.compile(r"([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])/")

_FOR_EACH_MODEL = {
    "signature",
    "input_kind",
    "preprocess",
    "item_input",
    "model_inputs",
    "model_poll_interval",
}
"""The flags of the model that an endpoint takes too."""


def check_together(options: PipelineOptions) -> Iterator[str]:
    """Tell what is wrong with flags that are right each for itself."""
    runner = options.view_as(StandardOptions).runner or "DirectRunner"
    try:
        create_runner(runner)
    except (ValueError, ImportError) as error:
        yield f"--runner {runner}: {str(error).partition('. ')[2] or error}"
    yield from _not_followed(options)
    if is_on_dataflow(options):
        yield from _local_places(options)
        yield from _elsewhere(options)
        yield from check_dataflow(options)
    if options.view_as(SourceOptions).is_streaming:
        yield from _not_for_streams(options)
    elif options.view_as(StandardOptions).streaming:
        yield "--streaming: --input ends; give --watch or --input_subscription, or leave out --streaming"
    yield from _nowhere_to_stage(options)


def is_on_dataflow(options: PipelineOptions) -> bool:
    """Tell whether the job is for Dataflow."""
    return is_dataflow_runner(options.view_as(StandardOptions).runner or "")


def is_dataflow_runner(name: str) -> bool:
    """Tell whether a runner, in one of the ways in which Beam takes names of them, is Dataflow's."""
    return name.rpartition(".")[2].lower() == REMOTE_RUNNER


def check_model(options: PipelineOptions) -> Iterator[str]:
    """Tell when it is not clear what predicts, and of flags that are not about it."""
    model, endpoint = options.view_as(ModelOptions), options.view_as(EndpointOptions)
    if not endpoint.endpoint:
        groups: tuple[FlagGroup, ...] = (endpoint,)
    elif model.model:
        yield f"--model {model.model} and --endpoint are given together; a job has one of them"
        groups = ()
    else:
        groups = (model, options.view_as(EngineOptions))
    other = "--endpoint" if endpoint.endpoint else "a local --model"
    for group in groups:
        for flag in group.FLAGS:
            if flag.name not in _FOR_EACH_MODEL and group.changed(flag.name):
                yield f"--{flag.name} has no effect with {other}; leave it out"


def _not_followed(options: PipelineOptions) -> Iterator[str]:
    """Tell of newer versions that are to be looked for where requests do not name their version."""
    endpoint = options.view_as(EndpointOptions)
    if not options.view_as(ModelOptions).changed("model_poll_interval"):
        return
    if not endpoint.given("endpoint") or endpoint.validate():
        return
    if endpoint.parsed.protocol != "tf_serving":
        yield (
            f"--model_poll_interval has no effect with {endpoint.parsed.protocol}, where the server chooses "
            "the version; leave it out"
        )
    elif endpoint.parsed.version is not None:
        yield (
            f"--model_poll_interval has no effect with version {endpoint.parsed.version}, which --endpoint "
            "names; leave out one of them"
        )


def _elsewhere(options: PipelineOptions) -> Iterator[str]:
    """Tell of an endpoint that only this machine sees."""
    endpoint = options.view_as(EndpointOptions)
    if endpoint.given("endpoint") and not endpoint.validate() and endpoint.parsed.is_loopback:
        yield f"--endpoint {endpoint.endpoint} is on this machine, and Dataflow's workers are not"


def _not_for_streams(options: PipelineOptions) -> Iterator[str]:
    """Tell of what needs an end."""
    if options.view_as(BatchingOptions).group_by:
        yield "--group_by needs all files of a group, and in streaming there are always more; leave it out"
    if options.view_as(SinkOptions).overwrite:
        yield "--overwrite: a job that goes on for ever only adds to its output; leave it out"


def _nowhere_to_stage(options: PipelineOptions) -> Iterator[str]:
    """Tell of what BigQuery would load from, when nothing says where that is."""
    sink = options.view_as(SinkOptions)
    tables = [output for output in (*sink.outputs, *sink.dead_letter_outputs) if isinstance(output, Table)]
    place = options.view_as(GoogleCloudOptions).temp_location
    if tables and bigquery_method(options) == FILE_LOADS and not str(place or "").startswith("gs://"):
        yield (
            f"--output {tables[0]}: FILE_LOADS writes files first; pass --temp_location gs://BUCKET/FOLDER, "
            "or --bigquery_method STREAMING_INSERTS"
        )


def bigquery_method(options: PipelineOptions) -> str:
    """Return how rows get into tables."""
    streaming = options.view_as(SourceOptions).is_streaming
    return options.view_as(SinkOptions).bigquery_method or (STREAMING_INSERTS if streaming else FILE_LOADS)


def _local_places(options: PipelineOptions) -> Iterator[str]:
    """Tell of what the workers of another machine would not find, or would write to their own disks."""
    sink = options.view_as(SinkOptions)
    places = [("--input", name) for name in options.view_as(SourceOptions).input or ()]
    model = options.view_as(ModelOptions).model
    # An image may hold the model, and Dataflow's workers find it where the image has it.
    in_image = options.view_as(WorkerOptions).sdk_container_image and str(model).startswith("/")
    places += [] if in_image else [("--model", model)]
    places += [("--output", output.place) for output in sink.outputs if isinstance(output, Files)]
    own = sink.dead_letter_outputs if sink.dead_letters else ()
    places += [("--dead_letters", output.place) for output in own if isinstance(output, Files)]
    for flag, place in places:
        if isinstance(place, str) and storage.is_local(place.removeprefix(LIST_MARK)):
            yield _not_for_workers(flag, place)


def _not_for_workers(flag: str, place: str) -> str:
    told = f"{flag} {place} is on this machine, and Dataflow's workers are not: "
    if flag in ("--output", "--dead_letters"):
        return f"{told}write to gs://BUCKET/FOLDER, {TABLE_MARK}PROJECT.DATASET.TABLE, or {TOPIC_MARK}TOPIC"
    if may_lack_scheme(place):
        return f"{flag} {place} is no place in Cloud Storage, nor on this machine; did you mean gs://{place}?"
    return f"{told}copy it to gs://"


def may_lack_scheme(place: str) -> bool:
    """Tell what may be meant as BUCKET/NAME: a name of a bucket that is no folder of this machine."""
    bucket = _IN_BUCKET.match(place)
    return bucket is not None and not os.path.exists(bucket.group(1))
