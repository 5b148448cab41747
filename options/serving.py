"""Where and how a model is served."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from options.flags import Bytes, Flag, FlagGroup, Text, Whole
from transforms.allowed_places import AllowedPlaces
from transforms.batch_files import DEFAULT_BATCH_SIZE
from transforms.predictors.engines.sliced import available_cores

PORT_VARIABLE = "PORT"
DEFAULT_PORT = 8080
MAX_PORT = 65_535
DEFAULT_MAX_REQUEST_BYTES = 32 << 20
"""What Cloud Run lets through over HTTP/1."""

_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


class ModelName(Text):
    """A name that is a part of a URL as it is."""

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        if not _NAME.fullmatch(text):
            raise ValueError("must be made of letters, digits, -, _ and .")
        return text


class Prefix(Text):
    """A place below which files may be named."""

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        AllowedPlaces((super().parse(text),))
        return text


class ServingOptions(FlagGroup):
    """The flags of `beam-predict serve` beside those of the model; no flags of a pipeline."""

    TITLE = "The server"
    FLAGS = (
        Flag(
            "model_name",
            "The model's name in the server's URLs. Not given: the last part of --model that is no number "
            "of a version.",
            ModelName("NAME"),
        ),
        Flag(
            "host",
            "The address to listen at. 127.0.0.1 is reached from this machine only; 0.0.0.0, in a container "
            "say, by whoever reaches the machine: the server asks nobody who they are.",
            Text("ADDRESS"),
            "127.0.0.1",
        ),
        Flag(
            "port",
            f"The port to listen at; 0 for one that is free. Not given: the environment variable "
            f"{PORT_VARIABLE}, else {DEFAULT_PORT}.",
            Whole(0),
        ),
        Flag(
            "allowed_prefix",
            "For a signature that takes the names of files: the places below which clients may name them, "
            "such as gs://bucket/photos or /data/photos. There is no such place by default.",
            Prefix("PLACE"),
            repeated=True,
        ),
        Flag(
            "max_request_bytes",
            "A larger request is refused with status 413.",
            Bytes(),
            DEFAULT_MAX_REQUEST_BYTES,
        ),
        Flag(
            "max_batch_size",
            "The most instances that the model sees at once; a request with more is computed in parts.",
            Whole(),
            DEFAULT_BATCH_SIZE,
        ),
        Flag(
            "workers",
            "How many requests are computed at once, by threads of one process that share the model. Not "
            "given: as many as there are cores.",
            Whole(),
        ),
        Flag(
            "drain_seconds",
            "How long the requests that are running may take to end after Ctrl-C or SIGTERM.",
            Whole(0, "SECONDS"),
            10,
        ),
        Flag("access_log", "Write a line to standard error for each request."),
    )

    # As with Beam's options, what a flag holds is known when it was validated.
    model_name: Any
    host: Any
    port: Any
    allowed_prefix: Any
    max_request_bytes: Any
    max_batch_size: Any
    workers: Any
    drain_seconds: Any
    access_log: bool

    def __init__(self, values: Mapping[str, Any]) -> None:
        for flag in self.FLAGS:
            setattr(self, flag.name, values[flag.name])

    @property
    def effective_port(self) -> int:
        """The port to listen at.

        Raises:
            ValueError: The environment variable is none.
        """
        if self.port is not None:
            return int(self.port)
        told = os.environ.get(PORT_VARIABLE, "").strip()
        return Whole(0).parse(told) if told else DEFAULT_PORT

    @property
    def effective_workers(self) -> int:
        """How many requests are computed at once."""
        return int(self.workers or available_cores())

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        return [*super().validate(), *self._port_problems()]

    def _port_problems(self) -> Iterator[str]:
        source = "--port" if self.port is not None else f"the environment variable {PORT_VARIABLE}"
        if self.port is not None and not self.given("port"):
            return
        try:
            if self.effective_port > MAX_PORT:
                yield f"{source} must be at most {MAX_PORT}; got {self.effective_port}"
        except ValueError as error:
            yield f"{source} {error}; got {os.environ[PORT_VARIABLE]!r}"
