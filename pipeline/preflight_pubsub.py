"""Do the subscription and the topics exist? Asked of Pub/Sub on the launching machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1

SECONDS = 20.0


def missing_subscription(path: str) -> Iterator[str]:
    """Tell what is wrong with a subscription that messages should come from."""
    flag = f"--input_subscription {path}"
    remedy = f"`beam-predict notify --bucket BUCKET --topic TOPIC --subscription {path}` makes one"
    yield from _missing(flag, remedy, lambda: _subscription(path))


def missing_topic(flag: str, path: str) -> Iterator[str]:
    """Tell what is wrong with a topic."""
    remedy = f"`gcloud pubsub topics create {path}` makes one"
    yield from _missing(f"{flag} {path}", remedy, lambda: _topic(path))


def _missing(flag: str, remedy: str, ask: Callable[[], Any]) -> Iterator[str]:
    try:
        ask()
    except NotFound:
        yield f"{flag} does not exist; {remedy}"
    except (GoogleAPIError, GoogleAuthError) as error:
        reason = str(error).partition("\n")[0]
        yield f"{flag} cannot be seen ({reason}); check the name, and who may view it"


def _subscription(path: str) -> Any:
    with pubsub_v1.SubscriberClient() as client:
        return client.get_subscription(subscription=path, timeout=SECONDS, retry=None)


def _topic(path: str) -> Any:
    client = pubsub_v1.PublisherClient()
    try:
        return client.get_topic(topic=path, timeout=SECONDS, retry=None)
    finally:
        client.transport.close()
