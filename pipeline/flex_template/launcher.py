"""The start of a job by a Flex Template: on a machine of Google's, which ends when the job is described.

The launcher that Google provides runs `deploy/flex_template.py` in the template's image, and tells it a
`--template_location`. Beam writes the job's description to that file, and Dataflow makes a job of it when the
process has ended with code 0. So nothing is waited for here, in batch neither, and no summary is made.

What `--overwrite` deletes is deleted last, when the job is described: nothing that is looked at here can stop
it any more. Dataflow has taken the launch by then, with its name, its account and its first quotas, but not
yet the description; should it refuse that, the earlier output is gone without a new one.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    WorkerOptions,
)

from options import DataflowOptions, parse
from pipeline import preflight
from pipeline.dataflow.buckets import bucket_problems
from pipeline.exit_codes import DONE, FAILED, WRONG_USAGE
from pipeline.flex_template.parameters import command_line
from pipeline.graph import build
from pipeline.job import make_steps
from pipeline.prepare import NotDeleted, delete_earlier, prepare_outputs
from transforms.errors import UsageError
from transforms.predictors.base import Predictor

IMAGE_VARIABLE = "BEAM_PREDICT_IMAGE"
"""Where an image has its own name, which it cannot find out."""

_log = logging.getLogger(__name__)


def main(passed: Sequence[str] | None = None) -> int:
    """Launch the job that the template's parameters describe.

    What goes wrong is written to standard error, which Dataflow shows in the log of the job.

    Returns:
        The exit code: `DONE`, `FAILED` or `WRONG_USAGE`.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    _log.setLevel(logging.INFO)
    try:
        launch(sys.argv[1:] if passed is None else passed)
    except UsageError as error:
        for problem in error.problems:
            _log.error("%s", problem)
        _log.error("no job was started, because of what is told above")
        return WRONG_USAGE
    except Exception as error:
        traceback.print_exc()
        _log.error("no job was started: %s", error)
        return FAILED
    return DONE


def launch(passed: Sequence[str]) -> None:
    """Check the flags and all that they name, and hand the job to Beam's runner.

    Raises:
        UsageError: The flags are wrong, or a check before the start failed.
    """
    options = parse(with_image(command_line(passed)))
    predictor = _check(options)
    earlier = prepare_outputs(options, predictor.signature)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, make_steps(options, predictor))
    pipeline.run()
    _log.info("the job is described; Dataflow makes a job of it when this process has ended")
    try:
        delete_earlier(earlier)
    except NotDeleted as error:  # of which some may be gone: without the job there would be neither
        _log.error("%s", error)


def _check(options: PipelineOptions) -> Predictor:
    """Look at all that can be looked at with the rights of a worker, which may not list jobs.

    Raises:
        UsageError: It holds all that is wrong.
    """
    if options.view_as(DataflowOptions).skip_preflight:
        return preflight.model(options)
    cloud = options.view_as(GoogleCloudOptions)
    places = {"--temp_location": cloud.temp_location, "--staging_location": cloud.staging_location}
    problems = list(bucket_problems({flag: place for flag, place in places.items() if place}, cloud))
    try:
        predictor = preflight.check(options)
    except UsageError as error:
        raise UsageError([*problems, *error.problems]) from error
    if problems:
        raise UsageError(problems)
    return predictor


def with_image(arguments: Sequence[str]) -> list[str]:
    """Let the workers have the image that this process runs in, unless the arguments name another one.

    Dataflow does not do so by itself: it would give them Beam's own image.
    """
    own = os.environ.get(IMAGE_VARIABLE)
    if not own or PipelineOptions(list(arguments)).view_as(WorkerOptions).sdk_container_image:
        return list(arguments)
    return [*arguments, f"--sdk_container_image={own}"]
