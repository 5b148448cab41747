"""Clients of Pub/Sub that take messages of every size, from an emulator too."""

from __future__ import annotations

import os
from typing import Any

EMULATOR_VARIABLE = "PUBSUB_EMULATOR_HOST"

_NO_LIMIT = (("grpc.max_receive_message_length", -1),)


def subscriber_client() -> Any:
    """Make a client that pulls messages.

    For an emulator Google's own client makes a channel that takes 4 MiB at a time, which a few images exceed.
    """
    from google.cloud import pubsub_v1

    host = os.environ.get(EMULATOR_VARIABLE)
    if not host:
        return pubsub_v1.SubscriberClient()
    import grpc  # type: ignore[import-untyped]
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    channel = grpc.insecure_channel(host, options=_NO_LIMIT)
    return pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
