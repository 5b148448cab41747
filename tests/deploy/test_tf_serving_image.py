"""The image of `deploy/tf_serving`: what TensorFlow Serving is started with, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from emulators.processes import free_port
from tests.deploy.images import DEADLINE_SECONDS, TF_SERVING, Dockerfile, started

# From https://github.com/tensorflow/serving, tag 2.19.1: flags of model_servers/main.cc; and the numbers of
# the fields of BatchingParameters in servables/tensorflow/session_bundle_config.proto.
SERVER_FLAGS = {
    *("port", "rest_api_port", "model_name", "model_base_path", "enable_batching"),
    *("batching_parameters_file", "rest_api_timeout_in_ms", "file_system_poll_wait_seconds"),
}
BATCHING_FIELDS = {
    "max_batch_size": 1,
    "batch_timeout_micros": 2,
    "max_enqueued_batches": 3,
    "num_batch_threads": 4,
    "enable_large_batch_splitting": 8,
    "max_execution_batch_size": 9,
}

# In the place of tensorflow_model_server: says what it was started with, and then ends as it is told, or by a
# signal, which it does not handle.
MODEL_SERVER = f"""#!{sys.executable}
import os, sys, time
print("\\n".join(sys.argv[1:]), flush=True)
if "CODE" in os.environ:
    sys.exit(int(os.environ["CODE"]))
print("ready", flush=True)
time.sleep({DEADLINE_SECONDS})
"""


@pytest.fixture
def model_server(tmp_path: Path) -> str:
    """The path of programs, with a stand-in for TensorFlow Serving's server."""
    program = tmp_path / "tensorflow_model_server"
    program.write_text(MODEL_SERVER)
    program.chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


def _flags(process: subprocess.Popen[str]) -> dict[str, str]:
    """Read what the stand-in says that it was started with."""
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "ready\n")
    return dict(line.strip().removeprefix("--").split("=", 1) for line in lines)


@pytest.mark.parametrize(("port", "rest_port"), [("8080", "8080"), ("8500", "8501")])
def test_tensorflow_serving_is_started_on_the_ports_that_are_wanted(
    model_server: str, port: str, rest_port: str
) -> None:
    image = Dockerfile.read(TF_SERVING)
    with started(image, "--rest_api_timeout_in_ms=60000", PATH=model_server, PORT=port) as server:
        flags = _flags(server)
    assert set(flags) <= SERVER_FLAGS
    assert (flags["port"], flags["rest_api_port"]) == ("8500", rest_port)
    assert (flags["model_name"], flags["rest_api_timeout_in_ms"]) == ("model", "60000")
    copies = image.copies
    assert copies["examples/digits/model"] == f"{flags['model_base_path']}/1"
    assert copies["deploy/tf_serving/batching.pbtxt"] == flags["batching_parameters_file"]


def test_tensorflow_serving_ends_by_sigterm_once_its_requests_had_time(model_server: str) -> None:
    image = Dockerfile.read(TF_SERVING)
    with started(image, PATH=model_server, DRAIN_SECONDS="1") as server:
        _flags(server)
        begun = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE_SECONDS) == 0
        assert time.monotonic() - begun >= 1
        assert server.stdout is not None
        assert server.stdout.read() == ""  # the end of it: the server has ended as well


def test_what_tensorflow_serving_ends_with_is_handed_on(model_server: str) -> None:
    with started(Dockerfile.read(TF_SERVING), PATH=model_server, CODE="7") as server:
        assert server.wait(DEADLINE_SECONDS) == 7


def test_the_health_check_of_tensorflow_serving_asks_whether_somebody_listens() -> None:
    command, port = Dockerfile.read(TF_SERVING).health_check, free_port()
    environment = {"PATH": os.environ["PATH"], "PORT": str(port)}
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0


def test_the_parameters_of_batching_are_ones_that_tensorflow_serving_knows() -> None:
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", syntax="proto3", dependency=[wrappers_pb2.DESCRIPTOR.name]
    )
    message = file.message_type.add(name="BatchingParameters")
    for name, number in BATCHING_FIELDS.items():
        kind = "BoolValue" if name.startswith("enable_") else "Int64Value"
        message.field.add(name=name, number=number, type=11, label=1, type_name=f".google.protobuf.{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("BatchingParameters"))()

    text_format.Parse((TF_SERVING.parent / "batching.pbtxt").read_text(), made)

    assert 0 < made.max_execution_batch_size.value <= made.max_batch_size.value
