"""What requests carry to be let in: from the environment, and from a real server of tokens."""

from __future__ import annotations

import functools
import json
import pickle
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import google.auth
import google.oauth2.credentials
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import _default, _exponential_backoff, impersonated_credentials
from google.auth.compute_engine import _metadata
from google.auth.credentials import AnonymousCredentials

from emulators.processes import free_port
from tests.transforms.predictors.remote.token_server import (
    ACCOUNT,
    TokenServer,
    claims_of,
    number_of,
    token_server,
)
from transforms.errors import ModelError
from transforms.predictors.remote import google_tokens
from transforms.predictors.remote.credentials import Auth, Credentials, audience_of
from transforms.predictors.remote.endpoint import Endpoint, parse_endpoint
from transforms.predictors.remote.google_tokens import GoogleTokens, access_tokens
from transforms.predictors.remote.wire import Action, CallFailed

LOCAL = parse_endpoint("http://127.0.0.1:8501/v1/models/m", "tf_serving")
CLOUD = parse_endpoint("https://digits-abc.a.run.app/v1/models/m", "kserve")
SECRET = "s3cr3t-value"  # noqa: S105


@functools.cache
def key_pair() -> tuple[bytes, bytes]:
    """Make the private and the public key of a service account."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with token_server(key_pair()[1]) as running:
        yield running


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide all credentials and proxies of this machine, and let google-auth not sleep between its tries."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_QUOTA_PROJECT", "GCE_METADATA_IP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setattr(google.auth, "default", _default.default)
    monkeypatch.setattr(_exponential_backoff, "time", types.SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(_metadata, "detect_gce_residency_linux", lambda: False)
    monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", False)


@pytest.fixture
def key_file(server: TokenServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A key file of a service account, which is in use."""
    path = tmp_path / "key.json"
    write_key_file(path, server.token_uri)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


def write_key_file(path: Path, token_uri: str) -> None:
    content = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": key_pair()[0].decode(),
        "client_email": ACCOUNT,
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(content))


@pytest.fixture
def machine(server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> TokenServer:
    """The metadata server of a machine with a service account."""
    monkeypatch.setenv("GCE_METADATA_IP", server.host)
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", server.host)
    return server


def token_of(credentials: Credentials) -> str:
    headers = dict(credentials.headers())
    assert list(headers) == ["authorization"]
    scheme, _, token = headers["authorization"].partition(" ")
    assert scheme == "Bearer"
    return token


def failure_of(credentials: Credentials) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        credentials.headers()
    assert caught.value.status == "credentials"
    return caught.value


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# What --endpoint_auth says


@pytest.mark.parametrize(
    ("text", "auth"),
    [
        ("none", Auth("none")),
        ("adc", Auth("adc")),
        ("id_token", Auth("id_token")),
        ("header:X-Api-Key=API_KEY", Auth("header", "X-Api-Key", "API_KEY")),
        ("header:Authorization=_token2", Auth("header", "Authorization", "_token2")),
    ],
)
def test_it_says_where_credentials_come_from(text: str, auth: Auth) -> None:
    assert Auth.parse(text) == auth


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ADC",
        "basic",
        "header",
        "header:",
        "header:X-Api-Key",
        "header:X-Api-Key=",
        "header:=API_KEY",
        "header:X Api=API_KEY",
        "header:X-Key:=API_KEY",
        "header:Schlüssel=API_KEY",
        "header:X-Key\r\n=API_KEY",
        "header:X-Key=API-KEY",
        "header:X-Key=1KEY",
        "header:Host=API_KEY",
        "header:content-length=API_KEY",
        "header:grpc-timeout=API_KEY",
        "header:X-Key=API_KEY\n",
    ],
)
def test_what_is_none_of_the_forms_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        Auth.parse(text)


def test_a_secret_in_the_place_of_its_name_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="not the secret") as caught:
        Auth.parse(f"header:Authorization=Bearer {SECRET}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", ["adc", "id_token", "header:X-Api-Key=API_KEY"])
@pytest.mark.parametrize("address", ["http://example.com/v1/models/m", "grpc://example.com:8500/m"])
def test_no_secret_goes_to_others_in_plain_text(text: str, address: str) -> None:
    endpoint = parse_endpoint(address, "grpc" if address.startswith("grpc") else "tf_serving")
    problem = Auth.parse(text).problem(endpoint)
    assert problem
    assert "plain text to " + address in problem
    with pytest.raises(ModelError, match="plain text"):
        Auth.parse(text).open(endpoint)


@pytest.mark.parametrize(
    ("text", "endpoint"), [("none", parse_endpoint("grpc://example.com:1/m")), ("adc", LOCAL), ("adc", CLOUD)]
)
def test_all_else_may_be_sent(text: str, endpoint: Endpoint) -> None:
    assert Auth.parse(text).problem(endpoint) is None


def test_nothing_is_sent_to_who_lets_everybody_in() -> None:
    credentials = Auth.parse("none").open(LOCAL)
    assert (credentials.headers(), credentials.renew()) == ({}, False)


# From the environment


def test_a_header_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", SECRET)
    credentials = Auth.parse("header:X-Api-Key=API_KEY").open(CLOUD)
    assert (credentials.headers(), credentials.renew()) == ({"X-Api-Key": SECRET}, False)


@pytest.mark.parametrize(("value", "told"), [(None, "not set"), ("", "empty")])
def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None, told: str) -> None:
    monkeypatch.delenv("API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("API_KEY", value)
    with pytest.raises(ModelError, match=f"variable API_KEY is {told}; .* each worker"):
        Auth.parse("header:X-Api-Key=API_KEY").open(CLOUD)


@pytest.mark.parametrize("value", [f"{SECRET}\n", f" {SECRET}", f"{SECRET}\r\nHost: x", f"{SECRET}é", "\x7f"])
def test_what_no_header_carries_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("API_KEY", value)
    with pytest.raises(ModelError, match="variable API_KEY holds what no header can carry") as caught:
        Auth.parse("header:X-Api-Key=API_KEY").open(CLOUD)
    assert SECRET not in str(caught.value)


def test_no_secret_is_pickled_or_shown(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    monkeypatch.setenv("API_KEY", SECRET)
    for text, secret in (("header:X-Api-Key=API_KEY", SECRET), ("adc", "access-1")):
        auth = Auth.parse(text)
        credentials = auth.open(LOCAL)
        assert secret in str(credentials.headers())
        assert secret.encode() not in pickle.dumps(auth)
        assert pickle.loads(pickle.dumps(auth)) == auth  # noqa: S301 - it was made here
        with pytest.raises(TypeError):
            pickle.dumps(credentials)
        assert secret not in repr(auth) + repr(credentials) + repr(getattr(credentials, "_held", ""))


# From a key file, and from the machine


def test_a_key_file_gives_access_tokens(server: TokenServer, key_file: Path) -> None:
    assert token_of(Auth.parse("adc").open(LOCAL)) == "access-1"
    assert server.asked == [ACCOUNT]


def test_a_machine_gives_access_tokens(machine: TokenServer) -> None:
    assert token_of(Auth.parse("adc").open(LOCAL)) == "access-1"
    assert machine.asked == [ACCOUNT]


def test_a_key_file_gives_id_tokens(server: TokenServer, key_file: Path) -> None:
    token = token_of(Auth.parse("id_token").open(CLOUD))
    assert claims_of(token)["aud"] == "https://digits-abc.a.run.app"
    assert server.asked == ["https://digits-abc.a.run.app"]


def test_a_machine_gives_id_tokens(machine: TokenServer) -> None:
    token = token_of(Auth.parse("id_token").open(CLOUD))
    assert claims_of(token)["aud"] == "https://digits-abc.a.run.app"


@pytest.mark.parametrize(
    ("address", "protocol", "audience"),
    [
        ("https://Digits.run.app:443/v1/models/m", "kserve", "https://digits.run.app"),
        ("https://digits.run.app:8443/predict", "multipart", "https://digits.run.app:8443"),
        ("grpcs://digits.run.app:443/m", "grpc", "https://digits.run.app"),
        ("grpcs://digits.run.app/m", "grpc", "https://digits.run.app"),
        ("http://127.0.0.1:80/v1/models/m", "kserve", "http://127.0.0.1"),
        ("http://127.0.0.1:8080/v1/models/m", "kserve", "http://127.0.0.1:8080"),
        ("grpc://localhost:8500/m", "grpc", "http://localhost:8500"),
    ],
)
def test_an_id_token_is_for_the_host(address: str, protocol: str, audience: str) -> None:
    assert audience_of(parse_endpoint(address, protocol)) == audience


@pytest.mark.parametrize("text", ["adc", "id_token"])
def test_a_token_is_kept(server: TokenServer, key_file: Path, text: str) -> None:
    credentials = Auth.parse(text).open(LOCAL)
    assert [number_of(token_of(credentials)) for _ in range(5)] == [1] * 5
    assert len(server.asked) == 1


@pytest.mark.parametrize("text", ["adc", "id_token"])
def test_a_token_that_has_expired_is_not_sent(server: TokenServer, key_file: Path, text: str) -> None:
    server.life = 0
    credentials = Auth.parse(text).open(LOCAL)
    assert [number_of(token_of(credentials)) for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(("life", "margin"), [(3_600, 225), (300, 75)])
def test_a_token_is_renewed_before_it_expires(
    server: TokenServer, key_file: Path, life: int, margin: int
) -> None:
    server.life = life
    began = time.time()
    now = began
    credentials = access_tokens(lambda: now)
    assert token_of(credentials) == "access-1"
    now = began + life - margin - 5
    assert token_of(credentials) == "access-1"
    now = began + life - margin + 30
    assert token_of(credentials) == "access-2"


def test_while_one_thread_renews_a_token_the_others_use_the_old_one(
    server: TokenServer, key_file: Path
) -> None:
    began = time.time()
    now = began
    credentials = access_tokens(lambda: now)
    assert token_of(credentials) == "access-1"
    now = began + 3_500
    server.opened.clear()
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(token_of, credentials)
        wait_until(credentials._renewing.locked)
        assert token_of(credentials) == "access-1"
        server.opened.set()
        assert renewing.result() == "access-2"
    assert token_of(credentials) == "access-2"


def test_a_token_that_cannot_be_renewed_is_used_till_it_expires(server: TokenServer, key_file: Path) -> None:
    began = time.time()
    now = began
    credentials = access_tokens(lambda: now)
    assert token_of(credentials) == "access-1"
    server.answer = (400, json.dumps({"error": "invalid_grant", "error_description": "revoked"}))
    now = began + 3_500
    assert token_of(credentials) == "access-1"
    server.answer = None
    assert token_of(credentials) == "access-1"  # it is not asked for at each request
    now = began + 3_520
    assert token_of(credentials) == "access-2"
    server.answer = (400, json.dumps({"error": "invalid_grant", "error_description": "revoked"}))
    now = began + 7_500
    assert "revoked" in failure_of(credentials).message


def test_threads_that_start_together_get_one_token(server: TokenServer, key_file: Path) -> None:
    credentials = Auth.parse("adc").open(LOCAL)
    start = threading.Barrier(16)

    def first(_: int) -> str:
        start.wait(30)
        return token_of(credentials)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(first, range(16))) == {"access-1"}
    assert len(server.asked) == 1


def test_threads_that_wait_for_a_token_share_its_failure() -> None:
    tries: list[Any] = []
    waiting: list[int] = []

    def find(request: Any) -> Any:
        tries.append(request)
        wait_until(lambda: len(waiting) == 8)
        raise ValueError("no such thing")

    class Lock:
        """A lock that tells how many have come to it, which is when they have seen no failure yet."""

        def __init__(self) -> None:
            self._lock = threading.Lock()

        def __enter__(self) -> None:
            waiting.append(1)
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    credentials = GoogleTokens(find, "try another", time.time)
    credentials._renewing = Lock()  # type: ignore[assignment]
    with ThreadPoolExecutor(8) as pool:
        failures = list(pool.map(lambda _: failure_of(credentials), range(8)))
    assert len(tries) == 1
    assert {failed.message for failed in failures} == {
        "there is no token to send: no such thing (try another)"
    }


def test_a_token_that_is_refused_while_it_cannot_be_renewed_is_not_sent_again(
    server: TokenServer, key_file: Path
) -> None:
    began = time.time()
    now = began
    credentials = access_tokens(lambda: now)
    token_of(credentials)
    server.answer = (503, "busy")
    now = began + 3_500
    assert token_of(credentials) == "access-1"
    assert credentials.renew()
    assert failure_of(credentials).action is Action.RETRY


@pytest.mark.parametrize("text", ["adc", "id_token"])
def test_a_token_that_the_server_refuses_is_renewed(
    server: TokenServer, machine: TokenServer, text: str
) -> None:
    credentials = Auth.parse(text).open(LOCAL)
    assert not credentials.renew()  # nothing was sent yet
    assert number_of(token_of(credentials)) == 1
    assert credentials.renew()
    assert number_of(token_of(credentials)) == 2


def test_a_token_that_all_threads_have_refused_is_renewed_once(server: TokenServer, key_file: Path) -> None:
    credentials = Auth.parse("adc").open(LOCAL)
    both = threading.Barrier(2)

    def refused(_: int) -> str:
        token_of(credentials)
        both.wait(30)
        assert credentials.renew()
        return token_of(credentials)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(refused, range(2))) == ["access-2"] * 2


# What can go wrong


@pytest.mark.parametrize("text", ["adc", "id_token"])
def test_a_server_of_tokens_that_is_down_is_asked_again_later(key_file: Path, text: str) -> None:
    write_key_file(key_file, f"http://127.0.0.1:{free_port()}/token")
    failed = failure_of(Auth.parse(text).open(LOCAL))
    assert failed.action is Action.RETRY
    assert failed.message.startswith("who gives the tokens does not answer: ")


@pytest.mark.parametrize("text", ["adc", "id_token"])
def test_a_server_of_tokens_that_is_busy_is_asked_again_later(
    server: TokenServer, key_file: Path, text: str
) -> None:
    credentials = Auth.parse(text).open(LOCAL)
    server.answer = (503, "busy")
    assert failure_of(credentials).action is Action.RETRY
    server.answer = None
    assert number_of(token_of(credentials)) == 1


def test_a_server_of_tokens_that_keeps_silent_is_not_waited_for(
    server: TokenServer, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google_tokens, "_REQUEST_SECONDS", 0.05)
    server.opened.clear()
    failed = failure_of(Auth.parse("adc").open(LOCAL))
    assert failed.action is Action.RETRY
    assert "timed out" in failed.message


@pytest.mark.parametrize("text", ["adc", "id_token"])
def test_a_machine_that_is_busy_is_asked_again_later(machine: TokenServer, text: str) -> None:
    credentials = Auth.parse(text).open(LOCAL)
    machine.answer = (503, "busy")
    assert failure_of(credentials).action is Action.RETRY
    machine.answer = None
    assert number_of(token_of(credentials)) == 1


@pytest.mark.parametrize("text", ["adc", "id_token"])
def test_a_machine_without_an_account_gives_no_token(machine: TokenServer, text: str) -> None:
    machine.answer = (404, "no service account here")
    failed = failure_of(Auth.parse(text).open(LOCAL))
    assert failed.action is Action.GIVE_UP
    assert "no service account here" in failed.message


@pytest.mark.parametrize("text", ["adc", "id_token"])
def test_a_key_that_is_refused_is_told(server: TokenServer, key_file: Path, text: str) -> None:
    server.answer = (400, json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT"}))
    failed = failure_of(Auth.parse(text).open(LOCAL))
    assert failed.action is Action.GIVE_UP
    assert "invalid_grant: Invalid JWT" in failed.message
    assert "gcloud auth application-default login" in failed.message


def test_a_server_of_tokens_that_repeats_what_it_was_sent_is_not_repeated(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "user.json"
    user = {
        "type": "authorized_user",
        "client_id": "me",
        "client_secret": SECRET,
        "refresh_token": SECRET[::-1],
    }
    path.write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setattr(google.oauth2.credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", server.token_uri)
    server.answer = (400, json.dumps({"error": f"what is {SECRET}, or {SECRET[::-1]}?"}))
    failed = failure_of(Auth.parse("adc").open(LOCAL))
    assert "what is ***, or ***?" in failed.message


def test_what_was_sent_is_taken_out_of_texts_also_when_it_is_renewed(
    server: TokenServer, key_file: Path
) -> None:
    credentials = Auth.parse("adc").open(LOCAL)
    assert credentials.redact("nothing was sent") == "nothing was sent"
    first = token_of(credentials)
    assert credentials.renew()
    second = token_of(credentials)
    assert first != second
    assert credentials.redact(f"{first}, then Bearer {second}") == "***, then ***"


@pytest.mark.parametrize("text", ["none", "header:X-Api-Key=THE_KEY"])
def test_a_header_is_taken_out_of_texts(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("THE_KEY", "abc1")
    credentials = Auth.parse(text).open(LOCAL)
    assert credentials.redact("what is abc1?") == ("what is abc1?" if text == "none" else "what is ***?")


@pytest.mark.parametrize("text", ["adc", "id_token"])
@pytest.mark.parametrize(
    "body", ["<html>hello</html>", "{}", "[]", json.dumps({"refresh_token": SECRET}), json.dumps(SECRET)]
)
def test_an_answer_without_a_token_is_told_and_not_shown(
    server: TokenServer, key_file: Path, text: str, body: str
) -> None:
    server.answer = (200, body)
    failed = failure_of(Auth.parse(text).open(LOCAL))
    assert failed.action is Action.GIVE_UP
    assert SECRET not in f"{failed.message} {failed.__cause__}"


def test_a_machine_that_gives_no_id_token_shows_nothing(machine: TokenServer) -> None:
    with mock.patch.object(TokenServer, "id_token", return_value=SECRET):
        failed = failure_of(Auth.parse("id_token").open(LOCAL))
    assert failed.action is Action.GIVE_UP
    assert SECRET not in f"{failed.message} {failed.__cause__}"


@pytest.mark.parametrize("text", ["adc", "id_token"])
def test_no_credentials_at_all_are_told_with_the_remedy(machine: TokenServer, text: str) -> None:
    machine.is_metadata_server = False
    failed = failure_of(Auth.parse(text).open(LOCAL))
    assert failed.action is Action.GIVE_UP
    assert "gcloud auth application-default login" in failed.message


@pytest.mark.parametrize("content", [None, "no JSON", "{}", '{"type": "service_account"}'])
def test_a_key_file_that_is_none_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    failed = failure_of(Auth.parse("adc").open(LOCAL))
    assert failed.action is Action.GIVE_UP
    assert "key.json" in failed.message


def gcloud_stores(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "gcloud").mkdir()
    (tmp_path / "gcloud" / "application_default_credentials.json").write_text(json.dumps(content))


USER = {"type": "authorized_user", "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET}


@pytest.mark.filterwarnings("ignore:Your application has authenticated")
def test_a_user_of_gcloud_has_no_id_tokens(machine: TokenServer, tmp_path: Path) -> None:
    machine.is_metadata_server = False
    gcloud_stores(tmp_path, USER)
    failed = failure_of(Auth.parse("id_token").open(CLOUD))
    assert failed.action is Action.GIVE_UP
    assert "google.oauth2.credentials.Credentials) cannot make ID tokens" in failed.message
    assert "--impersonate-service-account" in failed.message
    assert SECRET not in failed.message


@pytest.mark.filterwarnings("ignore:Your application has authenticated")
def test_a_user_of_gcloud_who_impersonates_an_account_has_id_tokens(tmp_path: Path) -> None:
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
    kind = "impersonated_service_account"
    gcloud_stores(
        tmp_path, {"type": kind, "service_account_impersonation_url": url, "source_credentials": USER}
    )
    found = google_tokens._id_token_credentials("https://a.run.app", None)
    assert isinstance(found, impersonated_credentials.IDTokenCredentials)
    assert found._target_credentials.signer_email == ACCOUNT
    assert found._target_audience == "https://a.run.app"


def test_nobody_s_credentials_as_emulators_use_them_add_nothing() -> None:
    with mock.patch("google.auth.default", return_value=(AnonymousCredentials(), "project")):
        credentials = Auth.parse("adc").open(LOCAL)
        assert (credentials.headers(), credentials.renew()) == ({}, False)
