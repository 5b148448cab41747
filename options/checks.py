"""Rules that span several groups of flags."""

from __future__ import annotations

from collections.abc import Iterator

from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions, WorkerOptions
from apache_beam.runners.runner import create_runner

from options.model import ModelOptions
from options.sink import SinkOptions
from options.source import SourceOptions
from transforms import storage

REMOTE_RUNNER = "dataflowrunner"


def check_together(options: PipelineOptions) -> Iterator[str]:
    """Tell what is wrong with flags that are right each for itself."""
    runner = options.view_as(StandardOptions).runner or "DirectRunner"
    try:
        create_runner(runner)
    except (ValueError, ImportError) as error:
        yield f"--runner {runner}: {str(error).partition('. ')[2] or error}"
    if runner.rpartition(".")[2].lower() == REMOTE_RUNNER:
        yield from _local_places(options)
        yield from _nothing_to_install(options)


def _local_places(options: PipelineOptions) -> Iterator[str]:
    """Tell of what the workers of another machine would not find, or would write to their own disks."""
    sink = options.view_as(SinkOptions)
    places = [("--input", place) for place in options.view_as(SourceOptions).input or ()]
    places += [("--model", options.view_as(ModelOptions).model), ("--output", sink.output)]
    places += [("--dead_letters", sink.dead_letters)]
    for flag, place in places:
        if isinstance(place, str) and storage.is_local(place.removeprefix("@")):
            yield f"{flag} {place} is on this machine, and Dataflow's workers are not: copy it to gs://"


def _nothing_to_install(options: PipelineOptions) -> Iterator[str]:
    image = options.view_as(WorkerOptions).sdk_container_image
    if not image and not options.view_as(SetupOptions).setup_file:
        yield (
            "Dataflow's workers have no beam-predict: pass --setup_file setup.py, or --sdk_container_image "
            "with an image that has it"
        )
