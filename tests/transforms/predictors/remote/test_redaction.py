"""No secret comes back through the words of a server that repeats what it was sent."""

from __future__ import annotations

import contextlib
import html
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from emulators.model_server import Exchange, ModelServer
from emulators.rest_apis import Answer
from emulators.tf_serving_grpc import tf_serving
from tests.transforms.predictors.remote.grpc_clients import doubling
from tests.transforms.predictors.remote.remote_models import PATH, connection_to, lengths_server, sized
from transforms.errors import EndpointRefused, ModelError
from transforms.predictors.remote.credentials import Auth
from transforms.predictors.remote.open_endpoint import open_endpoint
from transforms.predictors.remote.redaction import Redaction, redacted
from transforms.predictors.remote.remote_predictor import RemotePredictor

TOKEN = 'sekret-/"<0123456789>-sekret'  # noqa: S105
AUTH = Auth.parse("header:Authorization=THE_SECRET")

Repeat = Callable[[Exchange], Answer]


def sent(exchange: Exchange) -> str:
    return exchange.headers["authorization"]


REPEATS: dict[str, Repeat] = {
    "a page": lambda exchange: Answer(200, f"<pre>{sent(exchange)}</pre>".encode()),
    "a page that is cut off in it": lambda exchange: Answer(200, f"{'x' * 286}{sent(exchange)}".encode()),
    "an error that is a success": lambda exchange: Answer(
        200, json.dumps({"error": sent(exchange)}).encode()
    ),
    "a value of another type": lambda exchange: Answer(
        200, json.dumps({"predictions": [{"length": sent(exchange)}]}).encode()
    ),
    "a shape": lambda exchange: Answer(
        200, json.dumps({"predictions": [{"length": [sent(exchange), 1]}]}).encode()
    ),
    "a refusal": lambda exchange: Answer(400, json.dumps({"error": sent(exchange)}).encode()),
    "no permission": lambda exchange: Answer(403, f"who is {html.escape(sent(exchange))}?".encode()),
    "a redirect": lambda exchange: Answer(302, b"", {"Location": f"/{quote(sent(exchange))}"}),
}


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_SECRET", f"Bearer {TOKEN}")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with lengths_server() as running:
        yield running


def has_secret(text: str) -> bool:
    return "sekret" in text or "01234567" in text


def loaded(server: ModelServer, **settings: Any) -> RemotePredictor:
    predictor = open_endpoint(connection_to(f"{server.address}{PATH}", auth=AUTH), **settings)
    predictor.load()
    return predictor


class TestRedaction:
    @pytest.mark.parametrize("secret", ["x1", "abc1234", "Bearer abc1234", "Bearer abcdefgh-ijkl"])
    def test_the_whole_is_masked_whatever_its_length(self, secret: str) -> None:
        shown = Redaction([secret])(f"you sent ({secret}), didn't you?")
        assert shown == "you sent (***), didn't you?"

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("token abcdefgh-ijkl is old", "token *** is old"),
            ("token abcdefgh is old", "token *** is old"),
            ("token gh-ijklm", "token gh-ijklm"),
            ("token abcdefg-hijkl", "token abcdefg-hijkl"),
            ("was abcdefgh, efgh-ijk", "was ***, ***"),
            ("a Bearer is wanted", "a Bearer is wanted"),
            ("abcdefgh-ijklabcdefgh-ijkl twice, abcdefgh-ijkl", "****** twice, ***"),
            ("it begins with abcdef...", "it begins with ***..."),
            ("it begins with abc...", "it begins with abc..."),
            ("", ""),
        ],
    )
    def test_parts_are_masked_from_8_characters_on_and_from_4_at_a_cut(self, text: str, shown: str) -> None:
        assert Redaction(["Bearer abcdefgh-ijkl"])(text) == shown

    def test_it_is_found_however_it_is_written(self) -> None:
        redaction = Redaction([TOKEN])
        for written in (json.dumps(TOKEN), repr(TOKEN), html.escape(TOKEN), quote(TOKEN, safe="")):
            assert not has_secret(redaction(written)), written

    def test_without_secrets_a_text_stays(self) -> None:
        assert Redaction([])("anything ...") == Redaction([""])("anything ...") == "anything ..."

    def test_it_shows_no_secret_itself(self) -> None:
        assert not has_secret(repr(Redaction([TOKEN])))

    def test_an_error_loses_its_causes_which_tell_the_same(self) -> None:
        try:
            try:
                raise ValueError(TOKEN)
            except ValueError as cause:
                raise ModelError(f"it said {TOKEN}") from cause
        except ModelError as error:
            told = "".join(traceback.format_exception(redacted(error, Redaction([TOKEN]))))
        assert told.endswith("it said ***\n")
        assert "ValueError" not in told


@pytest.mark.parametrize("repeat", REPEATS.values(), ids=REPEATS)
class TestRest:
    def test_at_launch(self, server: ModelServer, repeat: Repeat) -> None:
        server.faults = [None]  # the metadata
        server.fault = repeat
        with pytest.raises(ModelError) as caught:
            open_endpoint(connection_to(f"{server.address}{PATH}", auth=AUTH), samples=lambda _: sized(1))
        assert not has_secret("".join(traceback.format_exception(caught.value)))

    def test_in_place_of_the_metadata(self, server: ModelServer, repeat: Repeat) -> None:
        server.fault = repeat
        with pytest.raises(ModelError) as caught:
            open_endpoint(connection_to(f"{server.address}{PATH}", auth=AUTH))
        assert not has_secret("".join(traceback.format_exception(caught.value)))

    def test_at_the_first_request(self, server: ModelServer, repeat: Repeat) -> None:
        predictor = loaded(server)
        server.fault = repeat
        try:
            (outcome,) = predictor.predict(sized(1))
        except EndpointRefused as error:
            outcome = error
        assert isinstance(outcome, Exception)
        assert not has_secret("".join(traceback.format_exception(outcome)))

    def test_in_dead_letters(self, server: ModelServer, repeat: Repeat) -> None:
        predictor = loaded(server)
        predictor.predict(sized(1))
        server.fault = repeat
        (outcome,) = predictor.predict(sized(1))
        assert isinstance(outcome, Exception)
        assert not has_secret("".join(traceback.format_exception(outcome)))

    def test_in_the_log_of_a_version_that_is_not_told(
        self, server: ModelServer, repeat: Repeat, caplog: pytest.LogCaptureFixture
    ) -> None:
        predictor = loaded(server, poll_seconds=1e-9)
        server.fault = repeat
        with caplog.at_level(logging.WARNING), contextlib.suppress(EndpointRefused):
            predictor.predict(sized(1))
        assert "does not tell its version" in caplog.text
        assert not has_secret(caplog.text)


def test_over_grpc() -> None:
    def repeat(context: Any) -> None:
        said = f"what is {dict(context.invocation_metadata())['authorization']}?"
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, said)

    with tf_serving({"doubling": {1: doubling()}}) as server:
        server.fault = repeat
        connection = connection_to(f"grpc://{server.address}/doubling", "grpc", auth=AUTH)
        with pytest.raises(ModelError, match=r"what is \*\*\*\?") as caught:
            open_endpoint(connection)
    assert not has_secret("".join(traceback.format_exception(caught.value)))
