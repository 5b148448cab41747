"""The flags of endpoints, each alone and together with others."""

from __future__ import annotations

import pytest

from options import EndpointOptions, parse
from options.parsing import help_parser
from transforms.errors import UsageError
from transforms.predictors.remote.caller import RetryPolicy
from transforms.predictors.remote.connection import Connection

REST = ("--endpoint", "http://127.0.0.1:8501/v1/models/digits/versions/1")
NEWEST = ("--endpoint", "http://127.0.0.1:8501/v1/models/digits", "--endpoint_protocol", "tf_serving")
LABEL = ("--endpoint", "http://127.0.0.1:8501/v1/models/digits/labels/stable")
KSERVE = ("--endpoint", "http://127.0.0.1:8501/v1/models/digits", "--endpoint_protocol", "kserve")
VERTEX = ("--endpoint", "projects/me/locations/europe-west4/endpoints/123")
GRPC = ("--endpoint", "grpc://127.0.0.1:8500/digits")
CONTAINER = ("--endpoint", "https://service-abc.a.run.app/predict", "--endpoint_protocol", "multipart")
FILES = ("--input", "a.png", "--output", "out")
ON_DATAFLOW = ("--runner", "DataflowRunner", "--setup_file", "setup.py")
ELSEWHERE = ("--input", "gs://b/*.png", "--output", "gs://b/out")


def problems(*flags: str) -> list[str]:
    """Return what is wrong with a command line."""
    try:
        parse(list(flags))
    except UsageError as error:
        return error.problems
    return []


def view(*flags: str) -> EndpointOptions:
    return parse([*FILES, *flags]).view_as(EndpointOptions)


@pytest.mark.parametrize(
    "flags",
    [
        REST,
        VERTEX,
        GRPC,
        ("--endpoint", "http://h:1/v1/models/m", "--endpoint_protocol", "kserve"),
        CONTAINER,
        (*CONTAINER, "--endpoint_auth", "id_token", "--input_kind", "bytes", "--item_input", "image"),
        (*REST, "--request_format", "inputs", "--model_inputs", "threshold=1"),
        (*NEWEST, "--model_poll_interval", "5"),
        (*LABEL, "--model_poll_interval", "5"),
        (*GRPC, "--model_poll_interval", "0"),
        (*REST, "--signature", "from_images", "--preprocess", "scale=0..1"),
        (*REST, "--input_schema", "image_bytes:string,size:int64[2]", "--output_schema", "s:float32[?,4]"),
        (*VERTEX, "--endpoint_parameters", '{"threshold": 0.5}', "--endpoint_auth", "none"),
        (*GRPC, "--max_request_bytes", "64MiB", "--max_answer_bytes", "1MB", "--request_timeout", "1"),
        (*GRPC, "--max_concurrent_requests", "1", "--request_deadline", "1", "--retry_share", "0"),
        (*REST, "--endpoint_auth", "header:X-Key=API_KEY", "--endpoint_ca", "ca.pem"),
        (*REST, "--max_batch_size", "64", "--group_by", "key", "--class_names", "names.txt"),
    ],
)
def test_what_is_right_passes(flags: tuple[str, ...]) -> None:
    assert problems(*FILES, *flags) == []


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--endpoint", ""), "--endpoint must not be empty; got ''"),
        (("--endpoint", "127.0.0.1"), "--endpoint 127.0.0.1"),
        (("--endpoint", "ftp://h/v1/models/m"), "--endpoint ftp://h/v1/models/m"),
        (("--endpoint", "https://user:word@h/v1/models/m/versions/1"), "--endpoint "),
        (("--endpoint", "http://h:1/v1/models/m"), "pass --endpoint_protocol tf_serving or kserve"),
        (("--endpoint", "https://h/predict"), "--endpoint_protocol multipart"),
        ((*REST, "--endpoint_protocol", "kserve"), "is an address of tf_serving"),
        ((*GRPC, "--endpoint_protocol", "vertex"), "is an address of grpc"),
        (
            (*REST, "--endpoint_protocol", "tf-serving"),
            "--endpoint_protocol must be one of tf_serving, kserv",
        ),
        ((*REST, "--request_format", "rows"), "--request_format must be one of instances, inputs"),
        ((*VERTEX, "--endpoint_parameters", "5"), "--endpoint_parameters must be an object in JSON"),
        ((*VERTEX, "--endpoint_parameters", "{"), "--endpoint_parameters must be an object in JSON ("),
        (
            (*REST, "--endpoint_auth", "token"),
            "--endpoint_auth must be none, adc, id_token, or header:",
        ),
        ((*REST, "--endpoint_auth", "header:X"), "--endpoint_auth must be"),
        ((*REST, "--endpoint_auth", "header:Cookie=KEY"), "--endpoint_auth must name another header"),
        ((*REST, "--endpoint_ca", ""), "--endpoint_ca must not be empty"),
        ((*REST, "--input_schema", "image"), "--input_schema must be names with their types, such as"),
        ((*REST, "--output_schema", "a:text"), "--output_schema must have dtypes such as"),
        ((*REST, "--output_schema", "a:int64,a:int64"), "--output_schema must have each name once; 'a'"),
        ((*REST, "--output_schema", "a:int64[x]"), "--output_schema must be"),
        ((*REST, "--output_schema", ""), "--output_schema must be"),
        ((*REST, "--max_concurrent_requests", "0"), "--max_concurrent_requests must be a whole number of at"),
        ((*REST, "--max_request_bytes", "0"), "--max_request_bytes must be a number of bytes of at least 1"),
        ((*REST, "--max_answer_bytes", "much"), "--max_answer_bytes must be a number of bytes of at least 1"),
        (
            (*REST, "--request_timeout", "0"),
            "--request_timeout must be a whole number of at least 1; got",
        ),
        ((*REST, "--request_deadline", "-1"), "--request_deadline must be a whole number of at least 1"),
        ((*REST, "--retry_share", "2"), "--retry_share must be a number from 0 to 1; got '2'"),
        ((*REST, "--input_kind", "pixels"), "--input_kind must be one of"),
    ],
)
def test_a_wrong_value_is_told_with_the_remedy(flags: tuple[str, ...], problem: str) -> None:
    (told,) = problems(*FILES, *flags)
    assert problem in told
    assert "Invalid(" not in told


@pytest.mark.parametrize("typed", ["header:Authorization=Bearer s3cr3t", "Bearer s3cr3t", "header:s3cr3t"])
def test_a_secret_that_is_typed_in_the_place_of_a_variable_is_not_repeated(typed: str) -> None:
    (told,) = problems(*FILES, *REST, "--endpoint_auth", typed)
    assert "--endpoint_auth must be none, adc" in told
    assert "s3cr3t" not in told


def test_a_password_in_an_address_is_not_repeated() -> None:
    (told,) = problems(*FILES, "--endpoint", "https://user:hunter2@h/v1/models/m/versions/1")
    assert "hunter2" not in told


def test_a_secret_in_the_place_of_a_variable_is_not_understood() -> None:
    (told,) = problems(*FILES, *REST, "--endpoint_auth", "header:X-Key=s3cr3t-value")
    assert "name of an environment variable" in told


def test_all_that_is_wrong_is_told_at_once() -> None:
    told = problems(
        *(*FILES, *VERTEX, "--request_format", "rows", "--retry_share", "many"),
        *("--endpoint_auth", "x", "--max_request_bytes", "-1", "--output_schema", "::"),
    )
    assert [problem.split()[0] for problem in told] == [
        "--request_format",
        "--endpoint_auth",
        "--output_schema",
        "--max_request_bytes",
        "--retry_share",
    ]


class TestModelOrEndpoint:
    def test_neither(self) -> None:
        (told,) = problems(*FILES)
        assert told == ("--model is missing: give the folder of a SavedModel")

    def test_both(self) -> None:
        assert problems(*FILES, *REST, "--model", "model") == [
            "--model model and --endpoint are given together; a job has one of them"
        ]

    @pytest.mark.parametrize(
        ("flag", "value"),
        [
            ("model_version", "3"),
            ("model_sharing", "machine"),
            ("engine", "openvino"),
        ],
    )
    def test_flags_of_a_local_model_have_no_effect_with_an_endpoint(self, flag: str, value: str) -> None:
        assert problems(*FILES, *REST, f"--{flag}", value) == [
            f"--{flag} has no effect with --endpoint; leave it out"
        ]

    @pytest.mark.parametrize(
        ("flag", "value"),
        [
            ("endpoint_protocol", "kserve"),
            ("request_format", "inputs"),
            ("endpoint_parameters", "{}"),
            ("endpoint_auth", "adc"),
            ("endpoint_ca", "ca.pem"),
            ("input_schema", "x:string"),
            ("output_schema", "y:int64"),
            ("max_concurrent_requests", "4"),
            ("max_request_bytes", "1MB"),
            ("max_answer_bytes", "1MB"),
            ("request_timeout", "5"),
            ("request_deadline", "5"),
            ("retry_share", "0.1"),
        ],
    )
    def test_flags_of_endpoints_have_no_effect_with_a_local_model(self, flag: str, value: str) -> None:
        assert problems(*FILES, "--model", "model", f"--{flag}", value) == [
            f"--{flag} has no effect with a local --model; leave it out"
        ]

    def test_each_flag_of_endpoints_is_among_these(self) -> None:
        (marks,) = (
            mark for mark in type(self).test_flags_of_endpoints_have_no_effect_with_a_local_model.pytestmark
        )
        named = {flag for flag, _ in marks.args[1]}
        assert {flag.name for flag in EndpointOptions.FLAGS} == {"endpoint", *named}


class TestFlagsWithoutEffect:
    @pytest.mark.parametrize("address", [VERTEX, GRPC])
    def test_the_format_of_requests(self, address: tuple[str, str]) -> None:
        (told,) = problems(*FILES, *address, "--request_format", "inputs")
        assert told.startswith("--request_format inputs has no effect with ")

    @pytest.mark.parametrize("address", [REST, GRPC])
    def test_parameters(self, address: tuple[str, str]) -> None:
        (told,) = problems(*FILES, *address, "--endpoint_parameters", "{}")
        assert told.startswith("--endpoint_parameters has no effect with ")

    @pytest.mark.parametrize(
        ("address", "protocol"),
        [(VERTEX, "vertex"), (GRPC, "grpc"), (CONTAINER, "multipart"), (KSERVE, "kserve")],
    )
    def test_looking_for_newer_versions(self, address: tuple[str, ...], protocol: str) -> None:
        assert problems(*FILES, *address, "--model_poll_interval", "5") == [
            f"--model_poll_interval has no effect with {protocol}, where the server chooses the version; "
            "leave it out"
        ]

    def test_looking_for_newer_versions_of_one_that_the_address_names(self) -> None:
        (told,) = problems(*FILES, *REST, "--model_poll_interval", "5")
        assert told.startswith("--model_poll_interval has no effect with version 1, which --endpoint names")


class TestCredentials:
    def test_vertex_takes_those_of_the_machine_and_others_none(self) -> None:
        assert view(*VERTEX).auth.kind == "adc"
        assert view(*VERTEX, "--endpoint_auth", "none").auth.kind == "none"
        assert view(*REST).auth.kind == "none"
        assert view(*GRPC, "--endpoint_auth", "adc").auth.kind == "adc"

    @pytest.mark.parametrize("auth", ["adc", "id_token", "header:X-Key=KEY"])
    @pytest.mark.parametrize("address", ["http://h:1/v1/models/m/versions/1", "grpc://h:1/m"])
    def test_they_are_not_sent_in_plain_text(self, auth: str, address: str) -> None:
        (told,) = problems(*FILES, "--endpoint", address, "--endpoint_auth", auth)
        kind = auth.partition(":")[0]
        assert told.startswith(f"--endpoint_auth {kind} would send a secret in plain text to {address}")

    def test_they_are_where_they_do_not_leave_the_machine(self) -> None:
        assert problems(*FILES, *REST, "--endpoint_auth", "adc") == []


class TestDataflow:
    @pytest.mark.parametrize("address", [REST, GRPC, ("--endpoint", "grpc://localhost:8500/m")])
    def test_its_workers_do_not_see_this_machine(self, address: tuple[str, str]) -> None:
        assert problems(*ELSEWHERE, *ON_DATAFLOW, *address) == [
            f"--endpoint {address[1]} is on this machine, and Dataflow's workers are not"
        ]

    def test_they_see_others(self) -> None:
        assert problems(*ELSEWHERE, *ON_DATAFLOW, *VERTEX) == []
        assert problems(*ELSEWHERE, *ON_DATAFLOW, "--endpoint", "grpcs://model.example:443/m") == []


def test_what_is_not_given_is_as_the_connection_has_it() -> None:
    options = view(*REST)
    usual = Connection(options.parsed)
    assert options.max_concurrent_requests == usual.max_concurrent_requests == 8
    assert options.max_answer_bytes == usual.max_answer_bytes
    assert options.request_deadline == usual.request_deadline
    assert options.request_format == usual.request_format
    assert (options.request_timeout, options.retry_share) == (
        RetryPolicy().request_timeout,
        RetryPolicy().retry_share,
    )


def test_the_help_lists_each_flag_with_its_values() -> None:
    text = " ".join(help_parser("beam-predict").format_help().split())
    assert "(--model PATH | --endpoint URL)" in text
    for flag in EndpointOptions.FLAGS:
        assert f"--{flag.name} {flag.kind.metavar} {flag.help[:40]}" in text  # type: ignore[union-attr]
    assert "--max_concurrent_requests N" in text
    assert "under way at the same time. Default: 8." in text
