"""`beam-predict template`: a Flex Template, built or run by `gcloud dataflow flex-template`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from apache_beam.options.pipeline_options import GoogleCloudOptions

from options import DataflowOptions
from options.faulty_flags import find_faults
from options.flags import Flag, Text, add_flags
from options.launching import MODES
from options.parsing import Parser, explain_unknown, read
from options.settings import BUCKET, IMAGE, PROJECT, REGION
from pipeline.dataflow import preflight
from pipeline.dataflow.buckets import missing_buckets
from pipeline.dataflow.checklist import Outcome
from pipeline.dataflow.command import SETUP_FILE, load_settings, read_launch, suffix_of_name
from pipeline.dataflow.image_versions import Image
from pipeline.dataflow.names import form_problems
from pipeline.dataflow.report import told_once
from pipeline.exit_codes import DONE, WRONG_USAGE
from pipeline.flex_template.gcloud_run import Spec, not_in_template, run_arguments
from transforms.errors import UsageError

PROG = "beam-predict template"
GCLOUD = ("gcloud", "dataflow", "flex-template")
METADATA_FILE = Path(__file__).parents[2] / "deploy" / "metadata.json"

_DEFAULT_NAME = "templates/beam-predict.json"
_TEMPLATE_FILE = Flag(
    "template_file",
    "The template's description in Cloud Storage. Not given: $TEMPLATE_FILE, or "
    f"gs://$BUCKET/{_DEFAULT_NAME}.",
    Text("gs://BUCKET/NAME.json"),
)
_BUILD_FLAGS = (
    Flag("image", "The image, built and pushed by deploy/cloudbuild.yaml. Not given: $IMAGE.", Text("IMAGE")),
    _TEMPLATE_FILE,
    Flag("bucket", "Where the description goes without --template_file. Not given: $BUCKET.", Text("BUCKET")),
    Flag("project", "The project that writes the description. Not given: $PROJECT.", Text("PROJECT")),
    Flag(
        "metadata_file",
        "What the template tells of its parameters. Not given: deploy/metadata.json.",
        Text("FILE"),
    ),
    Flag("dry_run", "Print the command; do nothing."),
)
_USAGE = """\
usage: {prog} build [flags] [-- flags of gcloud]
       {prog} run batch|streaming [flags]

build writes the description of an image as a Flex Template to Cloud Storage; run starts a job from it.
Each has its own --help. The images are built by deploy/cloudbuild.yaml.
"""
_BUILD_EPILOG = """\
What stands behind -- goes to `gcloud dataflow flex-template build`, which can give the jobs defaults:
  {prog} build --image IMAGE -- --disable-public-ips --service-account-email=ACCOUNT
"""
_RUN_EPILOG = """\
All other flags and settings are those of a job without a template: `beam-predict dataflow batch --help`
lists them. The workers have the template's image. A model that only the image has, such as --model /models/1,
is looked for there; --skip_preflight leaves all checks before the start to it. Nothing waits for the job.
"""


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        command: Of gcloud's.
        problems: What is wrong with it.
        dry_run: Whether it is only to be shown.
        report: What was looked at, for people.
    """

    command: Sequence[str]
    problems: Sequence[str]
    dry_run: bool
    report: str = ""


def main(arguments: Sequence[str]) -> int:
    """Build a template, or run one.

    Returns:
        The exit code: gcloud's, or in a dry run `DONE`, or `WRONG_USAGE` where something is wrong.

    Raises:
        UsageError: Something is wrong.
        SystemExit: The help was asked for, and printed.
    """
    name, *rest = arguments or ("--help",)
    if name in ("-h", "--help"):
        print(_USAGE.format(prog=PROG), end="")
        return DONE
    if name not in _PLANS:
        raise UsageError([f"say build or run first; got {name!r}"])
    plan = _PLANS[name](rest, os.environ)
    if plan.dry_run:
        return _show(plan)
    without_gcloud = [] if shutil.which(GCLOUD[0]) else [_NO_GCLOUD]
    if plan.problems or without_gcloud:
        raise UsageError([*plan.problems, *without_gcloud])
    print(_pasted(plan.command), flush=True)
    return subprocess.run(plan.command, check=False).returncode  # noqa: S603 - it was shown


_NO_GCLOUD = "gcloud is not installed; see https://cloud.google.com/sdk/docs/install"


def plan_build(arguments: Sequence[str], variables: Mapping[str, str]) -> Plan:
    """Plan to write a template's description.

    Raises:
        UsageError: The file `.env` is not understood.
    """
    load_settings()
    place = list(arguments).index("--") if "--" in arguments else len(arguments)
    parser = _parser("build [flags] [-- flags of gcloud]", _BUILD_FLAGS, _BUILD_EPILOG)
    faults = find_faults(parser, arguments[:place])
    flags, unknown = parser.parse_known_args(faults.without(arguments[:place]))
    problems = [*faults.problems]
    problems += [problem for flag in _BUILD_FLAGS for problem in flag.problems(getattr(flags, flag.name))]
    problems += explain_unknown(unknown, [f"--{flag.name}" for flag in _BUILD_FLAGS]) if unknown else []
    image = flags.image or variables.get(IMAGE.variable)
    if not image:
        problems.append(replace(IMAGE, flag="image").missing)
    problems += _no_image(image)
    bucket = flags.bucket or variables.get(BUCKET.variable)
    template = _template_file(flags.template_file, bucket, variables, problems)
    metadata = Path(str(flags.metadata_file or METADATA_FILE))
    if not metadata.is_file():
        problems.append(
            f"--metadata_file {metadata} is not there; `python -m pipeline.flex_template.metadata` writes one"
        )
    project = flags.project or variables.get(PROJECT.variable)
    cloud = GoogleCloudOptions(project=project, region=variables.get(REGION.variable))
    problems += missing_buckets(cloud, {"--template_file": template})
    told = [template, f"--image={image}", "--sdk-language=PYTHON", f"--metadata-file={metadata}"]
    told += [f"--project={project}"] if project else []
    return Plan([*GCLOUD, "build", *told, *arguments[place + 1 :]], problems, flags.dry_run)


def plan_run(arguments: Sequence[str], variables: Mapping[str, str]) -> Plan:
    """Plan to start a job from a template.

    Raises:
        UsageError: What is given is not understood.
    """
    parser = _parser("run batch|streaming [flags]", (_TEMPLATE_FILE,), _RUN_EPILOG)
    faults = find_faults(parser, arguments)
    flags, rest = parser.parse_known_args(faults.without(arguments))
    mode = rest[0] if rest else ""
    if mode not in MODES:
        raise UsageError([f"say run {' or run '.join(MODES)}{f'; got {mode!r}' if mode else ''}"])
    launch = read_launch(mode, rest[1:])
    problems: list[str] = [*faults.problems, *launch.wrong(), *_TEMPLATE_FILE.problems(flags.template_file)]
    bucket = "".join(launch.values[BUCKET.flag][-1:])
    template = _template_file(flags.template_file, bucket, variables, problems)
    spec = _spec(template, problems)
    if spec is not None:
        launch = replace(launch, values={**launch.values, IMAGE.flag: [spec.image]})
    line = read(launch.words(str(SETUP_FILE), suffix_of_name()), PROG)
    problems += not_in_template(line.options, spec) if spec else ()
    command = [*GCLOUD, "run", *run_arguments(line.options, template)]
    if line.options.view_as(DataflowOptions).skip_preflight:
        malformed = form_problems(line.options.view_as(GoogleCloudOptions))
        wrong = Outcome("flags", [*problems, *line.unusable, *line.contradictory, *malformed])
        return Plan(command, told_once([wrong])[0].problems, launch.dry_run)
    report = preflight.inspect(line, problems, launched_in_image=True)
    if not launch.dry_run and not report.problems:
        report.tell_open()
    return Plan(command, report.reasons, launch.dry_run, str(report))


_PLANS: Mapping[str, Callable[[Sequence[str], Mapping[str, str]], Plan]] = {
    "build": plan_build,
    "run": plan_run,
}


def _parser(usage: str, flags: Sequence[Flag], epilog: str) -> Parser:
    parser = Parser(
        usage=f"{PROG} {usage}",
        allow_abbrev=False,
        epilog=epilog.format(prog=PROG),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser, flags)
    return parser


def _no_image(image: object) -> Iterator[str]:
    """Tell of a name that no image can have."""
    if isinstance(image, str) and image:
        try:
            Image.parse(image)
        except ValueError as error:
            yield f"--image {error}"


def _spec(template_file: str, problems: list[str]) -> Spec | None:
    """Read a template's description, or tell why it cannot be read."""
    try:
        return Spec.read(template_file) if template_file else None
    except UsageError as error:
        problems += error.problems
        return None


def _template_file(
    flag: object, bucket: str | None, variables: Mapping[str, str], problems: list[str]
) -> str:
    """Tell where the template is, or that it is not told."""
    place = (bucket or "").removeprefix("gs://").strip("/")
    default = variables.get("TEMPLATE_FILE") or (f"gs://{place}/{_DEFAULT_NAME}" if place else "")
    template = flag if isinstance(flag, str) else default
    if not template:
        problems.append(
            f"--template_file is missing: pass --template_file gs://my-bucket/{_DEFAULT_NAME}, or set "
            "TEMPLATE_FILE, or BUCKET"
        )
    elif not template.startswith("gs://"):
        problems.append(f"--template_file {template}: must be gs://BUCKET/NAME.json")
    return template


def _show(plan: Plan) -> int:
    print(f"The command:\n\n{_pasted(plan.command)}")
    if plan.report:
        print(f"\nThe checks:\n\n{plan.report}")
    elif plan.problems:
        print("\nWhat is wrong:\n", *(f"  {problem}" for problem in plan.problems), sep="\n")
    return WRONG_USAGE if plan.problems else DONE


def _pasted(command: Sequence[str]) -> str:
    """Write a command so that it can be pasted into a shell: what it is, and then a flag a line."""
    flags = next((place for place, word in enumerate(command) if word.startswith("--")), len(command))
    return " \\\n  ".join([shlex.join(command[:flags]), *(shlex.quote(word) for word in command[flags:])])
