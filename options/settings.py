"""What `run_dataflow.sh` takes from flags, from the environment, and from a file `.env`.

A `Setting` is a value of a job on Dataflow that may be given each way: a flag wins over the environment, and
that over `.env`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from options.accelerators import ACCELERATOR_EXAMPLE, MACHINE_EXAMPLE, Accelerator
from options.flags import Choice, Kind, Text, Whole


@dataclass(frozen=True)
class Setting:
    """A value that a flag or a variable gives.

    Attributes:
        variable: Its name in the environment.
        flag: Its name on the command line, without the dashes: of Beam's, of this project's, or of the
            command `beam-predict dataflow` alone.
        example: A value.
        help: What it is.
        aliases: Other names of the flag.
        required: Whether each job needs it.
        kind: What values it takes, where the flag is none of another group.
    """

    variable: str
    flag: str
    example: str
    help: str
    aliases: tuple[str, ...] = ()
    required: bool = False
    kind: Kind = Text("VALUE")  # noqa: RUF009 - it is frozen

    @property
    def missing(self) -> str:
        """Tell that it is missing, and what to do."""
        return f"--{self.flag} is missing: {self.remedy}"

    @property
    def remedy(self) -> str:
        """Tell how it is given."""
        example = shlex.quote(self.example)
        return f"pass --{self.flag} {example}, or set {self.variable}={example}"

    def problems(self, values: Iterable[str]) -> Iterator[str]:
        """Tell of values that it cannot take."""
        for value in values:
            try:
                self.kind.parse(value)
            except ValueError as error:
                yield f"--{self.flag} (or {self.variable}) {error}; got {value!r}"


class _Word(Choice):
    """One of a few words, in capitals or not."""

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        return super().parse(text.lower())


PROJECT = Setting("PROJECT", "project", "my-project", "The id of the project.", required=True)
REGION = Setting("REGION", "region", "us-central1", "Where the workers are: near the data.", required=True)
BUCKET = Setting(
    "BUCKET",
    "bucket",
    "my-bucket",
    "For what is staged, and for temporary files: gs://BUCKET/staging and gs://BUCKET/temp, unless "
    "--staging_location and --temp_location say otherwise.",
)
INPUT = Setting("INPUT", "input", "gs://my-bucket/photos/**.jpg", "In batch: the files to predict on.")
SUBSCRIPTION = Setting(
    "SUBSCRIPTION",
    "input_subscription",
    "projects/my-project/subscriptions/photos",
    "In streaming: what to listen to; or --input_topic, or --input with --watch.",
)
IMAGE = Setting(
    "IMAGE",
    "sdk_container_image",
    "us-central1-docker.pkg.dev/my-project/images/beam-predict:0.1.0",
    "The workers' image, which has this package and all that it needs. Not given: each worker installs them "
    "from this checkout (--setup_file), which takes minutes, and a package index that it can reach.",
)
JOB_NAME = Setting(
    "JOB_NAME",
    "job_name",
    "photos",
    "The job's name. Not given: beam-predict-MODE-TIME-RANDOM, and new each time.",
)
LABELS = Setting("LABELS", "labels", "team=photos,stage=test", "Labels; commas between them.", ("label",))
SUBNETWORK = Setting(
    "SUBNETWORK",
    "subnetwork",
    "regions/us-central1/subnetworks/default",
    "Its subnetwork; a mere name is one in the region.",
)
PUBLIC_IPS = Setting(
    "PUBLIC_IPS",
    "public_ips",
    "no",
    "yes or no: whether workers have public addresses. Without, the subnetwork needs Private Google Access. "
    "Not given: no with an image; else Dataflow's default, since workers install packages then.",
    kind=_Word(("yes", "no")),
)
EXACTLY_ONCE, AT_LEAST_ONCE = "exactly_once", "at_least_once"
STREAMING_MODE = Setting(
    "STREAMING_MODE",
    "streaming_mode",
    AT_LEAST_ONCE,
    f"In streaming: {EXACTLY_ONCE}, or {AT_LEAST_ONCE}, which costs less, and may write a record twice. Not "
    f"given: Dataflow's default, {EXACTLY_ONCE}.",
    kind=_Word((EXACTLY_ONCE, AT_LEAST_ONCE)),
)
PREDICT_ACCELERATOR = Setting(
    "PREDICT_ACCELERATOR",
    "predict_accelerator",
    ACCELERATOR_EXAMPLE,
    "A GPU on the workers that predict, and on no others.",
    kind=Accelerator(),
)
WORKER_ACCELERATOR = Setting(
    "WORKER_ACCELERATOR",
    "worker_accelerator",
    ACCELERATOR_EXAMPLE,
    "A GPU on every worker; the machines must be such as can have it.",
    kind=Accelerator(),
)

MODEL = Setting("MODEL", "model", "gs://my-bucket/model", "The model; or an endpoint.")
ENDPOINT = Setting(
    "ENDPOINT",
    "endpoint",
    "projects/my-project/locations/us-central1/endpoints/123",
    "Where a model is served that is called in the place of a model of the workers' own; also "
    "https://HOST/v1/models/NAME, and what else `beam-predict --help` lists.",
)

SETTINGS = (
    PROJECT,
    REGION,
    BUCKET,
    MODEL,
    ENDPOINT,
    Setting("SIGNATURE", "signature", "from_bytes", "The model's signature to call."),
    INPUT,
    SUBSCRIPTION,
    Setting(
        "OUTPUT",
        "output",
        "bigquery:my-project.photos.predictions",
        "Where the predictions go; also gs://BUCKET/FOLDER, or pubsub:TOPIC.",
        required=True,
    ),
    IMAGE,
    JOB_NAME,
    LABELS,
    Setting(
        "SERVICE_ACCOUNT",
        "service_account_email",
        "predict@my-project.iam.gserviceaccount.com",
        "The workers' account. Not given: Compute Engine's default one.",
    ),
    Setting("NETWORK", "network", "default", "The workers' network."),
    SUBNETWORK,
    PUBLIC_IPS,
    Setting("MACHINE_TYPE", "machine_type", MACHINE_EXAMPLE, "The machines.", ("worker_machine_type",)),
    Setting("DISK_SIZE_GB", "disk_size_gb", "50", "The disk of each.", kind=Whole()),
    Setting("NUM_WORKERS", "num_workers", "2", "How many there are at the start.", kind=Whole()),
    Setting("MAX_NUM_WORKERS", "max_num_workers", "20", "How many there are at most.", kind=Whole()),
    STREAMING_MODE,
    PREDICT_ACCELERATOR,
    WORKER_ACCELERATOR,
)
