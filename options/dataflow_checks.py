"""Flags of a job on Dataflow that are right each for itself, and wrong together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from options.accelerators import Accelerator, wrong_machine_of_job, wrong_machine_of_step
from options.dataflow import RIGHT_FITTING, DataflowOptions
from options.endpoint import EndpointOptions
from options.labels import label_problems
from options.source import SourceOptions

AT_LEAST_ONCE = "streaming_mode_at_least_once"
WORKER_ACCELERATOR = "worker_accelerator="

WITHOUT_RUNNER_V2 = (
    "disable_portable_runner",
    "disable_prime_runner_v2",
    "disable_runner_v2",
    "disable_runner_v2_until_2023",
    "disable_runner_v2_until_v2.50",
    "enable_streaming_java_runner",
)
"""Experiments by which Beam's `DataflowRunner` is told to do without."""

_LEAST_DISK_GB = 30  # https://cloud.google.com/dataflow/docs/reference/pipeline-options#worker-level_options
_BEAM_IMAGE = re.compile(r"(.*/)?beam_python3\.\d+_sdk(:.*)?")


def is_beams_own(image: str) -> bool:
    """Tell an image that Beam publishes, which has no beam-predict."""
    return _BEAM_IMAGE.fullmatch(image) is not None


def check_dataflow(options: PipelineOptions) -> Iterator[str]:
    """Tell what is wrong with the flags of a job on Dataflow."""
    streaming = options.view_as(SourceOptions).is_streaming
    yield from _packages(options)
    yield from _secret(options)
    yield from _experiments(options.view_as(DebugOptions))
    yield from _updates(options.view_as(GoogleCloudOptions), streaming)
    yield from _service_options(options, streaming)
    yield from _right_fitting(options, streaming)
    yield from _gpus(options)
    yield from _workers(options.view_as(WorkerOptions), options.view_as(GoogleCloudOptions).region)
    yield from label_problems(options.view_as(GoogleCloudOptions).labels or ())


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
            f"--endpoint_auth: Dataflow passes no variables on, so its workers lack {variable}; let their "
            "own account in, with --endpoint_auth id_token or adc, or pass an --sdk_container_image whose "
            f"start-up script gets {variable} from Secret Manager, not one with the secret inside: whoever "
            "may pull an image can read it"
        )


def _experiments(debug: DebugOptions) -> Iterator[str]:
    """Tell of what Beam refuses when all is built."""
    for name in WITHOUT_RUNNER_V2:
        if debug.lookup_experiment(name):
            yield f"--experiments {name}: Beam takes no job in Python without Runner V2; leave it out"


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
            "--predict_accelerator and worker_accelerator exclude each other: a GPU where predictions are "
            "made, or one on every worker"
        )
    if cloud.flexrs_goal and streaming:
        yield f"--flexrs_goal {cloud.flexrs_goal} is for batch; leave it out"


def _right_fitting(options: PipelineOptions, streaming: bool) -> Iterator[str]:
    """See https://cloud.google.com/dataflow/docs/guides/right-fitting#support_and_limitations."""
    cloud, hints = options.view_as(GoogleCloudOptions), options.view_as(DataflowOptions).predict_hints
    flags = " and ".join(f"--predict_{name}" for name in hints)
    if not hints:
        return
    if cloud.flexrs_goal:
        yield f"--flexrs_goal {cloud.flexrs_goal} excludes {flags}; leave one of them out"
    if streaming and RIGHT_FITTING not in (options.view_as(DebugOptions).experiments or ()):
        yield f"{flags}: in streaming without effect unless --experiments={RIGHT_FITTING} is given; add it"
    if streaming and options.view_as(WorkerOptions).autoscaling_algorithm == "NONE":
        yield f"{flags}: in streaming without effect with --autoscaling_algorithm NONE; leave one of them out"


def _gpus(options: PipelineOptions) -> Iterator[str]:
    own, machine_type = options.view_as(DataflowOptions), options.view_as(WorkerOptions).machine_type
    asked = options.view_as(GoogleCloudOptions).dataflow_service_options or ()
    of_all = [option for option in asked if option.startswith(WORKER_ACCELERATOR)]
    if endpoint := options.view_as(EndpointOptions).endpoint:
        named = ["--predict_accelerator"] if own.given("predict_accelerator") else []
        named += ["worker_accelerator"] if of_all else []
        yield from (
            f"{name}: with --endpoint {endpoint} workers compute nothing; leave it out" for name in named
        )
        return
    if own.given("predict_accelerator"):
        problem = wrong_machine_of_step(own.predict_accelerator, machine_type)
        yield from [problem] if problem else ()
    for option in of_all:
        yield from _gpu_of_all(option.removeprefix(WORKER_ACCELERATOR), machine_type)


def _gpu_of_all(accelerator: str, machine_type: str | None) -> Iterator[str]:
    try:
        problem = wrong_machine_of_job(Accelerator().parse(accelerator), machine_type)
    except ValueError as error:
        problem = f"--dataflow_service_options {WORKER_ACCELERATOR}{accelerator}: what follows the = {error}"
    if problem:
        yield problem


def _workers(workers: WorkerOptions, region: str | None) -> Iterator[str]:
    for name in ("num_workers", "max_num_workers"):
        number = getattr(workers, name)
        if number is not None and number < 1:
            yield f"--{name} {number}: must be a whole number of at least 1"
    least, most = workers.num_workers, workers.max_num_workers
    if least is not None and most is not None and least > most >= 1:
        yield (
            f"--num_workers {workers.num_workers} is above --max_num_workers {workers.max_num_workers}; "
            "lower the one or raise the other"
        )
    if workers.disk_size_gb and workers.disk_size_gb < _LEAST_DISK_GB:
        yield (
            f"--disk_size_gb {workers.disk_size_gb}: must be at least {_LEAST_DISK_GB}, for a worker's image "
            "and logs; or leave it out, and Dataflow chooses"
        )
    yield from _places(workers, region)
    yield from _subnetwork(workers.subnetwork, region)


def _places(workers: WorkerOptions, region: str | None) -> Iterator[str]:
    """See https://cloud.google.com/dataflow/docs/concepts/regional-endpoints: both are one region."""
    if workers.worker_region and workers.worker_zone:
        yield "--worker_region and --worker_zone exclude each other; leave one out"
    elif region and workers.worker_region not in (None, region):
        yield f"--worker_region {workers.worker_region} is not --region {region}; leave it out"
    elif region and workers.worker_zone and not workers.worker_zone.startswith(f"{region}-"):
        yield f"--worker_zone {workers.worker_zone} is no zone of --region {region}, such as {region}-b"


def _subnetwork(subnetwork: str | None, region: str | None) -> Iterator[str]:
    if subnetwork is None:
        return
    match = re.search(r"(?:^|/)regions/([^/]+)/subnetworks/[^/]+$", subnetwork)
    if match is None:
        yield f"--subnetwork {subnetwork}: must be regions/{region or 'REGION'}/subnetworks/NAME, or its URL"
    elif region is not None and match.group(1) != region:
        yield f"--subnetwork {subnetwork} is not in --region {region}; give one that is"
