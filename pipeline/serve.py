"""`beam-predict serve`: a model behind an HTTP server, as KServe has it."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from options import EngineOptions, ModelOptions, PostprocessingOptions
from options.serving import ServingOptions
from pipeline.exit_codes import DONE, FAILED, INTERRUPTED
from pipeline.model_command import make_parser, parse, view
from pipeline.serving import kserve_package
from pipeline.serving.answering import Answering
from pipeline.serving.instances import feed_of
from pipeline.serving.listening import bind, listen, url_of
from pipeline.serving.open_served import name_of, open_served
from transforms.allowed_places import AllowedPlaces
from transforms.errors import ModelError, ReadError, UsageError
from transforms.predictors import swapping_model
from transforms.predictors.base import Predictor
from transforms.predictors.serving_model import ServingModel

_POLLING = tuple(flag for flag in ModelOptions.FLAGS if flag.name == "model_poll_interval")
_PROG = "beam-predict serve"


@dataclass(frozen=True)
class ServeOptions:
    """What a command line says.

    Attributes:
        model: Which model, and how it is fed.
        engine: What computes it.
        readable: What is added to its outputs.
        wanted: Where and how it is served.
    """

    model: ModelOptions
    engine: EngineOptions
    readable: PostprocessingOptions
    wanted: ServingOptions

    @property
    def name(self) -> str:
        """What the model is called in the URLs."""
        return self.wanted.model_name or name_of(self.model.model)


def main(arguments: Sequence[str]) -> int:
    """Serve the model that a command line names, until Ctrl-C or SIGTERM.

    Returns:
        The exit code: 0 when all that was asked is answered.

    Raises:
        UsageError: The flags are wrong, or a check before the start failed.
        ModelError: The model cannot be loaded, or its engine does not compute it.
        SystemExit: The help was asked for, and printed.
    """
    options = read_options(arguments)
    predictor, ears = _check(options)
    try:
        model = swapping_model.serve(predictor, options.wanted.max_batch_size)
        model.load()
        return _serve(options, model, feed_of(predictor).item.name, ears)
    except KeyboardInterrupt:
        print(f"{_PROG}: stopped before it was ready", file=sys.stderr)
        return INTERRUPTED
    finally:
        ears.close()


def read_options(arguments: Sequence[str]) -> ServeOptions:
    """Read a command line.

    Raises:
        UsageError: It holds all that is wrong with the flags.
        SystemExit: The help was asked for, and printed.
    """
    parser = make_parser(
        prog=_PROG,
        description="Serve a model over HTTP, by KServe's V1 protocol: POST /v1/models/NAME:predict. Once it "
        "is ready, one line with its URL is printed.",
        usage="%(prog)s --model PATH [--port PORT] [flags]",
        groups={
            "Newer versions": _POLLING,
            EngineOptions.TITLE: EngineOptions.FLAGS,
            PostprocessingOptions.TITLE: PostprocessingOptions.FLAGS,
            ServingOptions.TITLE: ServingOptions.FLAGS,
        },
    )
    values, problems = parse(parser, arguments)
    options = ServeOptions(
        view(values, ModelOptions),
        view(values, EngineOptions),
        view(values, PostprocessingOptions),
        ServingOptions(values),
    )
    for group in (options.model, options.engine, options.readable, options.wanted):
        problems += group.validate()
    if problems:
        raise UsageError(problems)
    return options


def _check(options: ServeOptions) -> tuple[Predictor, socket.socket]:
    """Make the predictor, and take the address.

    Raises:
        UsageError: It holds all that is wrong.
    """
    problems, predictor, ears = [], None, None
    if not kserve_package.is_installed():
        problems.append(
            f"KServe, which the server is made of, is not installed: {kserve_package.REMEDY}; or "
            "./run_local.sh serve, which sets it up"
        )
    try:
        predictor = open_served(options.model, options.engine, options.readable, options.wanted)
    except (ModelError, ReadError) as error:
        problems.append(str(error))
    try:
        ears = bind(options.wanted.host, options.wanted.effective_port)
    except OSError as error:
        problems.append(_taken(options.wanted, error))
    if not problems and predictor is not None and ears is not None:
        return predictor, ears
    if ears is not None:
        ears.close()
    raise UsageError(problems)


def _taken(wanted: ServingOptions, error: OSError) -> str:
    return (
        f"cannot listen at --host {wanted.host} --port {wanted.effective_port}: {error.strerror}; give "
        "another, or --port 0 for one that is free"
    )


def _serve(options: ServeOptions, model: ServingModel, item_name: str, ears: socket.socket) -> int:
    # Imported here, since KServe takes a second, and need not be installed for other commands.
    from pipeline.serving.gate import Gate
    from pipeline.serving.http_server import HttpServer
    from pipeline.serving.kserve_model import ServedModel, make_application

    wanted, url = options.wanted, f"{url_of(ears)}/v1/models/{options.name}"
    allowed = AllowedPlaces(tuple(wanted.allowed_prefix or ()))
    answering = Answering(model, item_name, allowed, wanted.max_batch_size)
    logging.getLogger(swapping_model.__name__).setLevel(logging.INFO)  # so that swaps are told
    watch = model.watch()
    threads = ThreadPoolExecutor(wanted.effective_workers, thread_name_prefix="predict")

    def give_up(reason: str) -> None:
        server.give_up(reason)

    served = ServedModel(options.name, answering, threads, give_up)
    gate = Gate(make_application(served), f"/v1/models/{options.name}:predict", wanted.max_request_bytes)
    ready = f"serving {options.name} at {url}, version {model.current().model_version}; Ctrl-C ends it"
    server = HttpServer(gate, ready, wanted.drain_seconds, wanted.access_log)
    try:
        listen(ears)
    except OSError as error:
        raise UsageError([_taken(wanted, error)]) from error
    server.run(sockets=[ears])
    del watch
    return _ended(server.failure, server.unanswered)


def _ended(failure: str | None, unanswered: int) -> int:
    if unanswered:
        were = "request was" if unanswered == 1 else "requests were"
        print(f"{_PROG}: {unanswered} {were} left without an answer", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(FAILED)  # their threads cannot be stopped, and would be waited for
    if failure is not None:
        raise ModelError(failure)
    return DONE
