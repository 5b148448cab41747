"""Which endpoint predicts, where the model is served elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Bytes, Choice, Flag, FlagGroup, Share, Text, Whole, add_flags
from transforms.predictors.remote.caller import RetryPolicy
from transforms.predictors.remote.connection import (
    DEFAULT_MAX_ANSWER_BYTES,
    DEFAULT_MAX_CONCURRENT_REQUESTS,
    DEFAULT_REQUEST_DEADLINE,
)
from transforms.predictors.remote.credentials import Auth
from transforms.predictors.remote.endpoint import PROTOCOLS, Endpoint, parse_endpoint
from transforms.predictors.remote.schema_text import EXAMPLE, INPUT_EXAMPLE, parse_schema
from transforms.predictors.remote.tf_serving import REQUEST_FORMATS


class Schema(Text):
    """Inputs or outputs with their types; kept as text, since options are."""

    def __init__(self) -> None:
        super().__init__("SCHEMA")

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        parse_schema(text)
        return text


class JsonObject(Text):
    """An object in JSON; kept as text."""

    def __init__(self) -> None:
        super().__init__("JSON")

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"must be an object in JSON ({error})") from error
        if not isinstance(value, dict):
            raise ValueError('must be an object in JSON, such as {"threshold": 0.5}')
        return text


class Credentials(Text):
    """Where credentials come from; kept as text, which holds none."""

    is_secret = True  # else by mistake: in the place of the environment variable

    def __init__(self) -> None:
        super().__init__("none|adc|id_token|header:NAME=ENV_VAR")

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        Auth.parse(text)
        return text


_POLICY = RetryPolicy()


class EndpointOptions(FlagGroup, PipelineOptions):
    """The endpoint, and how it is talked to."""

    TITLE = "A model that is served elsewhere"
    FLAGS = (
        Flag(
            "endpoint",
            "In the place of --model, where the model is served: http(s)://HOST/v1/models/MODEL of "
            "TensorFlow Serving or KServe (with /versions/N or /labels/LABEL after it, if you like), "
            "projects/P/locations/L/endpoints/E of Vertex AI, grpc(s)://HOST:PORT/MODEL of TensorFlow "
            "Serving, or the URL of a container that takes one file a request.",
            Text("URL"),
        ),
        Flag(
            "endpoint_protocol",
            "What it speaks. Not given: told by --endpoint, where that is certain.",
            Choice(PROTOCOLS),
        ),
        Flag(
            "request_format",
            "Whether TensorFlow Serving's REST API gets the batch item by item (instances) or input by input "
            "(inputs).",
            Choice(REQUEST_FORMATS),
            REQUEST_FORMATS[0],
        ),
        Flag(
            "endpoint_parameters",
            "What Vertex AI hands to the model's container beside the instances.",
            JsonObject(),
        ),
        Flag(
            "endpoint_auth",
            "Whether requests carry credentials: adc for those of this machine (Application Default "
            "Credentials), id_token for an ID token, as Cloud Run takes it, or a header whose value is in an "
            "environment variable of the workers. Not given: adc for Vertex AI, else none.",
            Credentials(),
        ),
        Flag(
            "endpoint_ca",
            "A file of certificates in PEM form, one of which has signed the endpoint's. Not given: those "
            "that the machine trusts.",
            Text("FILE"),
        ),
        Flag(
            "input_schema",
            "The inputs of the model, where the endpoint does not tell them: names and types, such as "
            f"{INPUT_EXAMPLE}. Not given: one input of the kind --input_kind, called --item_input.",
            Schema(),
        ),
        Flag(
            "output_schema",
            f"The outputs of the model, such as {EXAMPLE}, with the shape of one item. Not given: what the "
            "endpoint tells, or else what it answers for the first file.",
            Schema(),
        ),
        Flag(
            "max_concurrent_requests",
            "How many requests of one worker process are under way at the same time.",
            Whole(),
            DEFAULT_MAX_CONCURRENT_REQUESTS,
        ),
        Flag(
            "max_request_bytes",
            "The largest body of a request, as it is sent; larger batches go in several requests. Not given: "
            "what the protocol allows: Vertex AI 1.5 MB (10 MB on hosts of an endpoint's own), gRPC 4MiB, "
            "else 32MiB.",
            Bytes(),
        ),
        Flag(
            "max_answer_bytes",
            "The most bytes that are read of an answer.",
            Bytes(),
            DEFAULT_MAX_ANSWER_BYTES,
        ),
        Flag(
            "request_timeout",
            "How long one try may take, from connecting to the last byte of the answer.",
            Whole(1, "SECONDS"),
            round(_POLICY.request_timeout),
        ),
        Flag(
            "request_deadline",
            "How long the endpoint is asked again about an item, where it may answer later; then the item is "
            "a dead letter.",
            Whole(1, "SECONDS"),
            DEFAULT_REQUEST_DEADLINE,
        ),
        Flag(
            "retry_share",
            "How many requests may be repetitions, as a share of the others, so that they do not keep down a "
            "server that is overloaded.",
            Share(),
            _POLICY.retry_share,
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        return [*super().validate(), *self._address_problems()]

    @property
    def parsed(self) -> Endpoint:
        """The endpoint.

        Raises:
            ValueError: The address is none, or does not tell the protocol.
        """
        return parse_endpoint(self.endpoint, self.endpoint_protocol)

    @property
    def auth(self) -> Auth:
        """Where the credentials come from."""
        return Auth.parse(self.endpoint_auth or ("adc" if self.parsed.protocol == "vertex" else "none"))

    @property
    def secret_variable(self) -> str:
        """The environment variable that holds the secret, on each worker too; empty where there is none."""
        return self.auth.variable if self.given("endpoint_auth") and not self.validate() else ""

    def _address_problems(self) -> Iterator[str]:
        if not self.given("endpoint") or not self._is_understood("endpoint_protocol"):
            return
        try:
            endpoint = self.parsed
        except ValueError as error:
            yield f"--endpoint {error}"
            return
        yield from self._unused(endpoint.protocol)
        problem = self.auth.problem(endpoint) if self._is_understood("endpoint_auth") else None
        if problem is not None:
            yield problem

    def _unused(self, protocol: str) -> Iterator[str]:
        """Tell of flags that have no effect with a protocol."""
        if self.changed("request_format") and protocol != "tf_serving":
            yield f"--request_format {self.request_format} has no effect with {protocol}; leave it out"
        if self.given("endpoint_parameters") and protocol != "vertex":
            yield f"--endpoint_parameters has no effect with {protocol}; leave it out"

    def _is_understood(self, name: str) -> bool:
        return getattr(self, name) is None or self.given(name)
