"""`beam-predict notify`: a bucket tells of its new files, for a job that predicts on them as they come."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import google.auth
import google.cloud.pubsub_v1
import google.cloud.storage
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from options.flags import add_flags
from options.notification import NotificationOptions
from options.parsing import Parser, explain_unknown
from pipeline.exit_codes import DONE
from pipeline.notification import PUBLISHER_ROLE, SetUp, Step, Wanted
from transforms.errors import ConfigurationError, UsageError

_PROJECT_VARIABLE = "GOOGLE_CLOUD_PROJECT"
_WIDTH = len(PUBLISHER_ROLE)


def main(arguments: Sequence[str]) -> int:
    """Set up what a command line names, and print what was done.

    Returns:
        The exit code: `DONE` when all of it is there.

    Raises:
        UsageError: The flags are wrong.
        ConfigurationError: Something is missing that this does not create, or may not be created.
        SystemExit: The help was asked for, and printed.
    """
    flags = _parse(arguments)
    wanted = _wanted(flags)
    try:
        with _set_up(flags.dry_run) as set_up:
            for step in set_up.run(wanted):
                print(_line(step))
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"{reason}; what is created stays, and the same command goes on") from error
    if wanted.subscription is not None:
        print(f"next: beam-predict --input_subscription {wanted.subscription} --model MODEL --output OUTPUT")
    return DONE


def _parse(arguments: Sequence[str]) -> NotificationOptions:
    parser = Parser(
        prog="beam-predict notify",
        description="Let a bucket tell of its new objects, for a job with --input_subscription or "
        "--input_topic. What is absent is created, what is there is left as it is.",
        usage="%(prog)s --bucket BUCKET --topic TOPIC [--subscription SUBSCRIPTION] [flags]",
        allow_abbrev=False,
    )
    add_flags(parser.add_argument_group(NotificationOptions.TITLE), NotificationOptions.FLAGS)
    parsed, unknown = parser.parse_known_args(arguments)
    flags = NotificationOptions(vars(parsed))
    known = [f"--{name}" for name in vars(parsed)]
    problems = explain_unknown(unknown, known) if unknown else []
    problems += flags.validate()
    if problems:
        raise UsageError(problems)
    return flags


def _wanted(flags: NotificationOptions) -> Wanted:
    topic = flags.topic if "/" in flags.topic else f"projects/{_project(flags)}/topics/{flags.topic}"
    subscription = flags.subscription
    if subscription is not None and "/" not in subscription:
        project = flags.project or topic.split("/")[1]
        subscription = f"projects/{project}/subscriptions/{subscription}"
    return Wanted(flags.bucket, topic, subscription, flags.prefix or "")


def _project(flags: NotificationOptions) -> str:
    """Return the project of what is given without one."""
    project = flags.project or os.environ.get(_PROJECT_VARIABLE)
    with contextlib.suppress(GoogleAuthError):
        project = project or google.auth.default()[1]
    if not project:
        raise UsageError([f"--topic {flags.topic}: in which project? Pass --project PROJECT"])
    return str(project)


@contextlib.contextmanager
def _set_up(dry_run: bool) -> Iterator[SetUp]:
    storage = google.cloud.storage.Client(project=None)
    publisher = google.cloud.pubsub_v1.PublisherClient()
    subscriber = google.cloud.pubsub_v1.SubscriberClient()
    try:
        yield SetUp(storage, publisher, subscriber, dry_run)
    finally:
        storage.close()
        publisher.transport.close()
        subscriber.close()


def _line(step: Step) -> str:
    return f"{step.what:<{_WIDTH}}  {step.name}: {step.done}"
