"""All that a worker needs to talk to an endpoint; without state, without secrets, and picklable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transforms.errors import ModelError
from transforms.predictors.remote.caller import RetryPolicy
from transforms.predictors.remote.credentials import Auth
from transforms.predictors.remote.endpoint import Endpoint, default_max_request_bytes
from transforms.predictors.remote.tf_serving import RequestFormat, TfServingFormat
from transforms.predictors.remote.wire import Transport, WireFormat

_INFLATION = 8
"""How many times as large as its message a tensor may be: an int64 may take one byte there."""

DEFAULT_MAX_CONCURRENT_REQUESTS = 8
DEFAULT_MAX_ANSWER_BYTES = 64 << 20
DEFAULT_REQUEST_DEADLINE = 300


@dataclass(frozen=True)
class Connection:
    """An endpoint, and how it is talked to.

    Attributes:
        endpoint: Where it is, and which protocol it speaks.
        auth: Where the credentials come from.
        ca: The certificates that may have signed the server's, as PEM; None for those that the machine
            trusts.
        request_format: Of TensorFlow Serving's REST API.
        parameters: What Vertex AI hands to the model's container beside the instances.
        max_concurrent_requests: How many requests of one worker process are under way at the same time.
        max_request_bytes: The most bytes of a request's body, as it is sent; None for the protocol's own
            limit.
        max_answer_bytes: The most bytes that are read of an answer.
        request_deadline: The seconds after which no further try is made for an item, from its first try on.
        policy: When and how often requests are repeated.
    """

    endpoint: Endpoint
    auth: Auth = field(default_factory=lambda: Auth.parse("none"))
    ca: str | None = None
    request_format: RequestFormat = "instances"
    parameters: Mapping[str, Any] | None = None
    max_concurrent_requests: int = DEFAULT_MAX_CONCURRENT_REQUESTS
    max_request_bytes: int | None = None
    max_answer_bytes: int = DEFAULT_MAX_ANSWER_BYTES
    request_deadline: float = DEFAULT_REQUEST_DEADLINE
    policy: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def request_bytes(self) -> int:
        """The most bytes of a request's body."""
        return self.max_request_bytes or default_max_request_bytes(self.endpoint)

    def wire(self, signature: str, item_input: str | None = None) -> WireFormat:
        """Make what writes requests and reads answers.

        Args:
            signature: Which of the model's signatures to call, where the protocol tells the server.
            item_input: The name of the input that takes the file, where the protocol has no other.
        """
        from transforms.predictors.remote.grpc_predict import GrpcFormat
        from transforms.predictors.remote.kserve import KServeFormat
        from transforms.predictors.remote.multipart import MultipartFormat
        from transforms.predictors.remote.vertex import VertexFormat

        endpoint = self.endpoint
        formats: dict[str, WireFormat] = {
            "tf_serving": TfServingFormat(endpoint, signature, self.request_format),
            "kserve": KServeFormat(endpoint),
            "vertex": VertexFormat(endpoint, self.parameters),
            "multipart": MultipartFormat(endpoint, item_input),
            "grpc": GrpcFormat(endpoint, signature, _INFLATION * self.max_answer_bytes),
        }
        return formats[endpoint.protocol]

    def transport(self) -> Transport:
        """Open what carries them; nothing is sent yet.

        Raises:
            ModelError: The credentials cannot be had on this machine, or `ca` has no certificate.
        """
        from transforms.predictors.remote.grpc_transport import GrpcTransport
        from transforms.predictors.remote.http_transport import HttpTransport

        credentials = self.auth.open(self.endpoint)
        if self.endpoint.protocol == "grpc":
            return GrpcTransport(
                self.endpoint,
                credentials,
                max_request_bytes=self.request_bytes,
                max_answer_bytes=self.max_answer_bytes,
                ca=self.ca,
            )
        try:
            return HttpTransport(
                self.endpoint,
                credentials,
                connections=self.max_concurrent_requests,
                max_answer_bytes=self.max_answer_bytes,
                ca=self.ca,
            )
        except ValueError as error:
            raise ModelError(f"--endpoint {self.endpoint.address}: {error}") from error
