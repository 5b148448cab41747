"""Flags of a job on Dataflow that are right each for itself, and wrong together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from options.dataflow import DataflowOptions
from options.endpoint import EndpointOptions
from options.source import SourceOptions

AT_LEAST_ONCE = "streaming_mode_at_least_once"
WORKER_ACCELERATOR = "worker_accelerator="

_BEAM_IMAGE = re.compile(r"(.*/)?beam_python3\.\d+_sdk(:.*)?")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")


def is_beams_own(image: str) -> bool:
    """Tell an image that Beam publishes, which has no beam-predict."""
    return _BEAM_IMAGE.fullmatch(image) is not None


def check_dataflow(options: PipelineOptions) -> Iterator[str]:
    """Tell what is wrong with the flags of a job on Dataflow."""
    streaming = options.view_as(SourceOptions).is_streaming
    yield from _packages(options)
    yield from _secret(options)
    yield from _updates(options.view_as(GoogleCloudOptions), streaming)
    yield from _service_options(options, streaming)
    yield from _workers(options.view_as(WorkerOptions), options.view_as(GoogleCloudOptions).region)
    for label in options.view_as(GoogleCloudOptions).labels or ():
        if not label.startswith("{") and not _LABEL.fullmatch(label):
            yield (
                f"--labels {label}: must be NAME=VALUE of lower-case letters, digits, - and _, with a letter "
                "first, such as --labels team=photos"
            )


def _packages(options: PipelineOptions) -> Iterator[str]:
    image = options.view_as(WorkerOptions).sdk_container_image
    setup_file = options.view_as(SetupOptions).setup_file
    if not image and not setup_file:
        yield (
            "Dataflow's workers have no beam-predict: pass --setup_file setup.py, or --sdk_container_image "
            "with an image that has it"
        )
    elif image and setup_file and not is_beams_own(image):
        yield (
            f"--setup_file {setup_file} would be installed at the start of each worker over what "
            f"--sdk_container_image {image} has; leave one out"
        )
    elif image and not setup_file and is_beams_own(image):
        yield (
            f"--sdk_container_image {image} is Beam's own, without beam-predict; add --setup_file setup.py, "
            "or give an image that has it"
        )


def _secret(options: PipelineOptions) -> Iterator[str]:
    variable = options.view_as(EndpointOptions).secret_variable
    image = options.view_as(WorkerOptions).sdk_container_image
    if variable and (not image or is_beams_own(image)):
        yield (
            f"--endpoint_auth: only an image gives Dataflow's workers the environment variable {variable}; "
            "build one that sets it, and pass it as --sdk_container_image"
        )


def _updates(cloud: GoogleCloudOptions, streaming: bool) -> Iterator[str]:
    if cloud.update and not streaming:
        yield "--update replaces a streaming job, and this is none; leave it out"
    if cloud.update and not cloud.job_name:
        yield "--update needs --job_name: the name of the job to replace"
    if cloud.transform_name_mapping and not cloud.update:
        yield "--transform_name_mapping has no effect without --update; add it, or leave both out"


def _service_options(options: PipelineOptions, streaming: bool) -> Iterator[str]:
    cloud, own = options.view_as(GoogleCloudOptions), options.view_as(DataflowOptions)
    asked = cloud.dataflow_service_options or ()
    if AT_LEAST_ONCE in asked and not streaming:
        yield (
            f"--dataflow_service_options {AT_LEAST_ONCE} is for streaming, and this job is none; leave it out"
        )
    if own.predict_accelerator and any(option.startswith(WORKER_ACCELERATOR) for option in asked):
        yield (
            "--predict_accelerator and --dataflow_service_options worker_accelerator=... exclude each other: "
            "a GPU where predictions are made, or one on every worker"
        )
    if cloud.flexrs_goal and own.predict_hints:
        yield (
            f"--flexrs_goal {cloud.flexrs_goal} excludes --predict_accelerator and --predict_min_ram; leave "
            "one of them out"
        )
    if cloud.flexrs_goal and streaming:
        yield f"--flexrs_goal {cloud.flexrs_goal} is for batch; leave it out"


def _workers(workers: WorkerOptions, region: str | None) -> Iterator[str]:
    for name in ("num_workers", "max_num_workers"):
        number = getattr(workers, name)
        if number is not None and number < 1:
            yield f"--{name} {number}: must be a whole number of at least 1"
    if (workers.num_workers or 0) > (workers.max_num_workers or workers.num_workers or 0):
        yield (
            f"--num_workers {workers.num_workers} is above --max_num_workers {workers.max_num_workers}; "
            "lower the one or raise the other"
        )
    if workers.worker_region and workers.worker_zone:
        yield "--worker_region and --worker_zone exclude each other; leave one out"
    yield from _subnetwork(workers.subnetwork, region)


def _subnetwork(subnetwork: str | None, region: str | None) -> Iterator[str]:
    if subnetwork is None:
        return
    match = re.search(r"(?:^|/)regions/([^/]+)/subnetworks/[^/]+$", subnetwork)
    if match is None:
        yield f"--subnetwork {subnetwork}: must be regions/{region or 'REGION'}/subnetworks/NAME, or its URL"
    elif region is not None and match.group(1) != region:
        yield f"--subnetwork {subnetwork} is not in --region {region}; give one that is"
