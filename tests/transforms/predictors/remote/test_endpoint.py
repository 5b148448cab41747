"""What `--endpoint` means, and what it must not hold."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from transforms.predictors.remote.endpoint import (
    PROTOCOLS,
    Endpoint,
    default_max_request_bytes,
    guess_protocol,
    parse_endpoint,
)

_RESOURCE = "projects/my-project/locations/europe-west4/endpoints/1234567890"
_SHARED = f"https://europe-west4-aiplatform.googleapis.com/v1/{_RESOURCE}"
_DEDICATED = f"https://1234567890.europe-west4-42.prediction.vertexai.goog/v1/{_RESOURCE}"


@pytest.mark.parametrize(
    ("path", "model", "version", "label"),
    [
        ("/v1/models/digits", "digits", None, None),
        ("/v1/models/digits:predict", "digits", None, None),
        ("/v1/models/digits/", "digits", None, None),
        ("/v1/models/my-model_v1.2~x", "my-model_v1.2~x", None, None),
        ("/v1/models/caf%C3%A9%20noir", "café noir", None, None),
        ("/v1/models/digits/versions/3", "digits", "3", None),
        ("/v1/models/digits/versions/003:predict", "digits", "3", None),
        ("/v1/models/digits/versions/9223372036854775807", "digits", "9223372036854775807", None),
        ("/v1/models/digits/labels/canary:predict", "digits", None, "canary"),
    ],
)
def test_a_model_of_tensorflow_serving(path: str, model: str, version: str | None, label: str | None) -> None:
    address = f"http://serving:8501{path}"

    assert parse_endpoint(address, "tf_serving") == Endpoint(
        address, "tf_serving", "http://serving:8501", model, version, label, secure=False
    )


def test_a_model_behind_a_path() -> None:
    endpoint = parse_endpoint("https://gateway/team/a/v1/models/m", "kserve")

    assert (endpoint.url, endpoint.model, endpoint.secure) == ("https://gateway/team/a", "m", True)


@pytest.mark.parametrize("suffix", ["/versions/3", "/labels/canary"])
def test_versions_and_labels_are_certainly_tensorflow_servings(suffix: str) -> None:
    address = f"https://host/v1/models/m{suffix}:predict"

    assert guess_protocol(address) == parse_endpoint(address).protocol == "tf_serving"
    with pytest.raises(ValueError, match="pass --endpoint_protocol tf_serving or none, not kserve"):
        parse_endpoint(address, "kserve")


def test_a_model_without_them_may_be_of_two_protocols() -> None:
    assert guess_protocol("http://host/v1/models/m") is None
    with pytest.raises(ValueError, match="pass --endpoint_protocol tf_serving or kserve"):
        parse_endpoint("http://host/v1/models/m:predict")


@pytest.mark.parametrize(
    ("version", "path"),
    [(None, "/v1/models/a%20b/labels/canary"), ("7", "/v1/models/a%20b/versions/7")],
)
def test_a_version_that_is_asked_for_comes_before_the_addresss_label(version: str | None, path: str) -> None:
    endpoint = parse_endpoint("http://host/v1/models/a%20b/labels/canary")

    assert endpoint.model_path(version) == path
    assert replace(endpoint, label=None, version="3").model_path(None).endswith("/versions/3")


@pytest.mark.parametrize("suffix", ["", ":predict"])
@pytest.mark.parametrize(
    ("address", "url"), [(_RESOURCE, _SHARED), (_SHARED, _SHARED), (_DEDICATED, _DEDICATED)]
)
def test_an_endpoint_of_vertex_ai(address: str, url: str, suffix: str) -> None:
    endpoint = parse_endpoint(address + suffix)

    assert endpoint == Endpoint(address + suffix, "vertex", url)
    assert guess_protocol(address + suffix) == "vertex"


def test_a_server_for_tests_may_stand_in_for_vertex_ai() -> None:
    assert parse_endpoint(f"http://127.0.0.1:5000/v1/{_RESOURCE}").protocol == "vertex"
    with pytest.raises(ValueError, match="must begin with https://"):
        parse_endpoint(f"http://example.com/v1/{_RESOURCE}")


def test_a_project_may_belong_to_a_domain() -> None:
    endpoint = parse_endpoint("projects/example.com:team/locations/us-central1/endpoints/7:predict")

    assert endpoint.url.endswith("/v1/projects/example.com:team/locations/us-central1/endpoints/7")


@pytest.mark.parametrize(
    ("address", "url", "secure"),
    [
        ("grpc://host:8500/m", "host:8500", False),
        ("grpcs://host:8500/m", "host:8500", True),
        ("grpcs://host/m", "host:443", True),
        ("grpc://[2001:DB8:0::1]:8500/m", "[2001:db8::1]:8500", False),
    ],
)
def test_grpc(address: str, url: str, secure: bool) -> None:
    assert parse_endpoint(address) == Endpoint(address, "grpc", url, "m", secure=secure)


def test_grpc_with_a_version_or_a_label() -> None:
    assert parse_endpoint("grpc://h:1/m/versions/2").version == "2"
    assert parse_endpoint("grpc://h:1/m/labels/canary", "grpc").label == "canary"


@pytest.mark.parametrize(
    "address",
    ["https://service-x7.a.run.app", "http://h/predict", "http://h/v1/models/m:predict", "http://h/v1/a:b/"],
)
def test_any_url_may_take_multipart_where_that_is_said(address: str) -> None:
    assert parse_endpoint(address, "multipart").url == address


def test_any_other_url_does_not_tell_its_protocol() -> None:
    with pytest.raises(ValueError, match="pass --endpoint_protocol multipart"):
        parse_endpoint("https://service-x7.a.run.app/predict")


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("http://[::1]:8501/v1/models/m", "http://[::1]:8501"),
        ("http://[0:0:0:0:0:0:0:1]/v1/models/m", "http://[::1]"),
        ("HTTP://Example.COM:80/v1/models/m", "http://example.com:80"),
        ("http://my_service.default.svc.cluster.local./v1/models/m", None),
    ],
)
def test_hosts_are_written_in_the_usual_way(address: str, written: str | None) -> None:
    expected = written or address.removesuffix("/v1/models/m")

    assert parse_endpoint(address, "kserve").url == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("[::1]", True),
        ("128.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("[2001:db8::1]", False),
        ("example.com", False),
    ],
)
@pytest.mark.parametrize("form", ["http://{}:8501/v1/models/m", "grpc://{}:8500/m"])
def test_what_stays_on_this_machine(form: str, host: str, expected: bool) -> None:
    protocol = "grpc" if form.startswith("grpc") else "tf_serving"

    assert parse_endpoint(form.format(host), protocol).is_loopback is expected


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "is empty"),
        ("host:8501/v1/models/m", "must begin with http://"),
        ("ftp://host/v1/models/m", "must begin with http://"),
        ("http:/host/v1/models/m", "must begin with http://"),
        ("/v1/models/m", "must begin with http://"),
        ("projects/p/models/m", "must begin with http://"),
        ("http:///v1/models/m", "must name a host"),
        ("http://:8501/v1/models/m", "must name a host"),
        ("http://host:0/v1/models/m", "port of 1 to 65535"),
        ("http://host:65536/v1/models/m", "port of 1 to 65535"),
        ("http://host:-1/v1/models/m", "port of 1 to 65535"),
        ("http://host:x/v1/models/m", "port of 1 to 65535"),
        ("http://host:/v1/models/m", "port of 1 to 65535"),
        ("http://::1/v1/models/m", "http://[::1]:8501"),
        ("http://[::1/v1/models/m", "http://[::1]:8501"),
        ("http://[::1]x/v1/models/m", "must name a host"),
        ("http://[fe80::1%25eth0]/v1/models/m", "zone"),
        ("http://127.1/v1/models/m", "must name a host"),
        ("http://256.0.0.1/v1/models/m", "must name a host"),
        ("http://-host/v1/models/m", "must name a host"),
        ("http://a..b/v1/models/m", "must name a host"),
        ("http://a%2Fb/v1/models/m", "must name a host"),
        ("http://host /v1/models/m", "no spaces"),
        ("http://host/v1/models/m\n", "no spaces"),
        ("http://host/v1/models/\0", "no spaces"),
        ("http://host\\evil/v1/models/m", "no spaces"),
        ("http://host/v1/models/é", "no spaces"),
        ("http://host/v1/models/%zz", "no spaces"),
        ("http://host/v1/models", "is no address of a model of tf_serving"),
        ("http://host/v1/models/", "is no address of a model of tf_serving"),
        ("http://host/v1/models/:predict", "is no address of a model of tf_serving"),
        ("http://host", "is no address of a model of tf_serving"),
        ("http://host/v1/models/m/metadata", "is no address of a model of tf_serving"),
        ("http://host/v1/models/m:classify", "another method"),
        ("http://host/v1/models/%20", "is empty"),
        ("http://host/v1/models/a%2Fb", "no model's name"),
        ("http://host/v1/models/a%3Ab", "no model's name"),
        ("http://host/v1/models/a%00", "no model's name"),
        ("http://host/v1/models/%FF", "no model's name"),
        ("http://host/v1/../v1/models/m", "'..'"),
        ("http://host/%2e%2E/v1/models/m", "'..'"),
        ("http://host/v1/models/m/versions/canary", "/labels/canary"),
        ("http://host/v1/models/m/versions/9223372036854775808", "whole number"),
    ],
)
def test_what_is_no_address_is_refused(address: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parse_endpoint(address, "tf_serving")
    assert problem in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("address", "protocol", "problem"),
    [
        ("http://host/v1/models/m", "rest", "there is no protocol 'rest', but tf_serving"),
        ("http://host/v1/models/m", "grpc", "is no address of grpc; give one such as grpc://"),
        ("http://host/v1/models/m", "vertex", "is no address of vertex; give one such as projects/"),
        ("grpc://host:1/m", "kserve", "pass --endpoint_protocol grpc or none"),
        ("grpc://host:1/m", "multipart", "pass --endpoint_protocol grpc or none"),
        (_RESOURCE, "tf_serving", "pass --endpoint_protocol vertex or none"),
        (_SHARED, "kserve", "pass --endpoint_protocol vertex or none"),
        ("grpc://host/m", None, "must have a port"),
        ("grpc://host:1", None, "the model's name"),
        ("grpc://host:1/", None, "the model's name"),
        ("grpc://host:1/a/b", None, "the model's name"),
        ("grpc://host:1/m:predict", None, "no model's name"),
        (f"{_RESOURCE}/deployedModels/7", None, "is no endpoint of Vertex AI"),
        (f"{_RESOURCE}:rawPredict", None, "another method"),
        (f"{_SHARED}:explain", None, "another method"),
    ],
)
def test_an_address_must_fit_its_protocol(address: str, protocol: str | None, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parse_endpoint(address, protocol)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://user:geheim@host/v1/models/m",
        "https://geheim@host/v1/models/m",
        "https://user:ge@heim/geheim?geheim#geheim@host/v1/models/m",
        "https://user:12/geheim@host/v1/models/m",
        "https://user:geheim @host",
        "grpc://user:geheim@host:1/m",
        "https://host/v1/models/m?key=geheim",
        "https://host/v1/models/m:predict?key=geheim\n&x",
        "https://host/v1/models/m#geheim",
        "projects/p/locations/l/endpoints/1?key=geheim",
        "user:geheim@host/v1/models/m",
    ],
)
@pytest.mark.parametrize("protocol", [None, "tf_serving", "multipart", "none such"])
def test_a_secret_in_an_address_is_refused_and_not_repeated(address: str, protocol: str | None) -> None:
    with pytest.raises(ValueError, match=r"endpoint_auth|no protocol") as raised:
        parse_endpoint(address, protocol)
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "protocol", "limit"),
    [
        (_RESOURCE, None, 1_500_000),
        (_DEDICATED, None, 10_000_000),
        (f"https://10.0.0.1/v1/{_RESOURCE}", None, 10_000_000),
        (f"http://localhost:1/v1/{_RESOURCE}", None, 1_500_000),
        ("https://x-7.a.run.app/", "multipart", 32 << 20),
        ("http://host/v1/models/m", "kserve", 32 << 20),
        ("http://host/v1/models/m", "tf_serving", 32 << 20),
        ("grpc://host:1/m", "grpc", 4 << 20),
    ],
)
def test_how_large_requests_may_be(address: str, protocol: str | None, limit: int) -> None:
    assert default_max_request_bytes(parse_endpoint(address, protocol)) == limit


def test_endpoints_travel_to_workers() -> None:
    endpoint = parse_endpoint(_RESOURCE)

    assert pickle.loads(pickle.dumps(endpoint)) == endpoint  # noqa: S301
    assert endpoint.protocol in PROTOCOLS
