"""What messages ask for, told from themselves."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from transforms.coders import FileRefCoder
from transforms.errors import ParseError
from transforms.json_values import record_to_json
from transforms.records import DeadLetter, FileRef
from transforms.sources.messages import (
    MAX_PAYLOAD_CHARS,
    MAX_URI_BYTES,
    MESSAGE_FORMATS,
    Skipped,
    parse_message,
)

ID = "1234567890"
PNG = b"\x89PNG\r\n\x1a\n\0\xff"
PNG_B64 = base64.b64encode(PNG).decode()
PNG_GENERATION = 397_984_841_203_286_625
NOTIFICATION = {
    "eventType": "OBJECT_FINALIZE",
    "bucketId": "bucket",
    "objectId": "folder/a b%20.png",
    "objectGeneration": "1795224577597187",
    "payloadFormat": "JSON_API_V1",
    "eventTime": "2026-01-31T12:00:00.000000Z",
    "notificationConfig": "projects/_/buckets/bucket/notificationConfigs/1",
    "overwroteGeneration": "1795224577597186",
}
OBJECT = {
    "kind": "storage#object",
    "name": "folder/a b%20.png",
    "size": "13",
    "generation": "1795224577597187",
}


def parse(
    data: bytes | str = b"", attributes: Mapping[str, str] | None = None, message_format: str = "auto"
) -> FileRef | Skipped:
    body = data.encode() if isinstance(data, str) else data
    return parse_message(body, attributes or {}, ID, message_format)


def refused(*message: Any) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(*message)
    assert f"message {ID} " in str(caught.value)
    return caught.value


def nested(depth: int) -> str:
    return '{"uri": "gs://bucket/a.png", "x": ' + "[" * depth + "]" * depth + "}"


class TestNotification:
    def test_a_new_object_is_a_file_of_that_generation_and_size(self) -> None:
        assert parse(orjson.dumps(OBJECT), NOTIFICATION) == FileRef(
            "gs://bucket/folder/a b%20.png", generation=1_795_224_577_597_187, size=13
        )

    def test_it_is_told_from_a_json_body_with_a_uri(self) -> None:
        assert parse('{"uri": "gs://other/b.png"}', NOTIFICATION) == parse(b"", NOTIFICATION)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\xff",
            b"{",
            b"[]",
            b"3",
            b"{}",
            b'{"size": null}',
            b'{"size": "many"}',
            b'{"size": -1}',
            b'{"size": "99999999999999999999"}',
            b'{"size": [1]}',
            b'{"size": "1e400"}',
        ],
    )
    def test_without_a_size_in_the_body_it_is_not_known_yet(self, body: bytes) -> None:
        ref = parse(body, NOTIFICATION)
        assert isinstance(ref, FileRef)
        assert (ref.generation, ref.size) == (1_795_224_577_597_187, None)

    @pytest.mark.parametrize("event", ["OBJECT_DELETE", "OBJECT_METADATA_UPDATE", "OBJECT_ARCHIVE"])
    def test_events_that_bring_no_object_are_skipped_by_their_names(self, event: str) -> None:
        assert parse(orjson.dumps(OBJECT), {**NOTIFICATION, "eventType": event}) == Skipped(event)

    def test_an_event_of_any_other_name_does_not_choose_its_reason(self) -> None:
        assert parse(b"", {**NOTIFICATION, "eventType": "x" * 1_000}) == Skipped("other_event")

    def test_the_object_by_which_consoles_keep_a_folder_is_skipped(self) -> None:
        assert parse(b"", {**NOTIFICATION, "objectId": "folder/"}) == Skipped("folder")

    @pytest.mark.parametrize(
        "generation", ["", "latest", "1.0", "1e3", " 1", "1_000", "٣", "0x1", "9" * 19, "9" * 5_000]
    )
    def test_a_generation_that_is_no_integer_is_a_dead_letter(self, generation: str) -> None:
        error = refused(orjson.dumps(OBJECT), {**NOTIFICATION, "objectGeneration": generation})
        assert "generation" in str(error)
        assert len(str(error)) < 300

    def test_without_a_generation_it_is_a_dead_letter(self) -> None:
        attributes = {name: value for name, value in NOTIFICATION.items() if name != "objectGeneration"}
        assert "objectGeneration" in str(refused(b"{}", attributes))

    @pytest.mark.parametrize("missing", ["eventType", "bucketId", "objectId"])
    def test_without_its_marks_it_is_none(self, missing: str) -> None:
        attributes = {name: value for name, value in NOTIFICATION.items() if name != missing}
        assert missing in str(refused(b"", attributes, "notification"))
        assert "has no uri" in str(refused(b"{}", attributes))

    @pytest.mark.parametrize("name", ["bucketId", "objectId"])
    def test_an_empty_name_is_a_dead_letter(self, name: str) -> None:
        refused(b"", {**NOTIFICATION, name: ""})


class TestName:
    def test_a_body_without_more_is_a_name(self) -> None:
        assert parse("gs://bucket/a b.png") == FileRef("gs://bucket/a b.png")

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_an_end_of_line_is_no_part_of_it(self, end: str) -> None:
        assert parse(f"gs://bucket/a.png{end}") == FileRef("gs://bucket/a.png")

    def test_a_byte_order_mark_is_no_part_of_it(self) -> None:
        assert parse("\ufeffgs://bucket/déjà/数字.png") == FileRef("gs://bucket/déjà/数字.png")

    def test_the_messages_attributes_are_the_files(self) -> None:
        attributes = {"label": "3", "eventType": "OBJECT_FINALIZE", "generation": "v2"}
        assert parse("gs://bucket/a.png", attributes) == FileRef("gs://bucket/a.png", attributes=attributes)

    def test_what_looks_like_json_can_be_a_name_when_that_is_said(self) -> None:
        assert parse("{a}.png", {}, "name") == FileRef("{a}.png")

    def test_a_name_too_long_for_any_storage_is_a_dead_letter(self) -> None:
        assert isinstance(parse("x" * MAX_URI_BYTES), FileRef)
        assert len(refused("é" * MAX_URI_BYTES).payload) == MAX_URI_BYTES


class TestJson:
    def test_its_other_fields_are_attributes(self) -> None:
        ref = parse('{"uri": "gs://bucket/a.png", "label": 3, "deep": {"list": [1, null]}, "size": 5}')
        assert ref == FileRef(
            "gs://bucket/a.png", attributes={"label": 3, "deep": {"list": [1, None]}, "size": 5}
        )

    def test_so_are_the_messages_and_its_own_come_first(self) -> None:
        ref = parse('{"uri": "gs://bucket/a.png", "label": 3}', {"label": "4", "camera": "left", "uri": "no"})
        assert ref == FileRef("gs://bucket/a.png", attributes={"label": 3, "camera": "left", "uri": "no"})

    @pytest.mark.parametrize("generation", ["12", '"12"'])
    def test_a_generation_may_be_given(self, generation: str) -> None:
        ref = parse(f'{{"uri": "gs://bucket/a.png", "generation": {generation}}}')
        assert ref == FileRef("gs://bucket/a.png", generation=12)

    @pytest.mark.parametrize("generation", ["1.5", "true", '"x"', "[]", "9223372036854775808"])
    def test_a_generation_that_is_none_is_a_dead_letter(self, generation: str) -> None:
        error = refused(f'{{"uri": "gs://bucket/a.png", "generation": {generation}}}')
        assert "generation" in str(error)

    @pytest.mark.parametrize("body", ["{}", '{"url": "gs://bucket/a.png"}', '{"uri": null}'])
    def test_without_a_uri_it_is_a_dead_letter_with_its_payload(self, body: str) -> None:
        error = refused(body)
        assert "has no uri" in str(error)
        assert error.payload == body

    @pytest.mark.parametrize("uri", ["3", '""', "[]", '{"b64": "YQ=="}', "true"])
    def test_a_uri_that_is_no_text_is_a_dead_letter(self, uri: str) -> None:
        assert "uri" in str(refused(f'{{"uri": {uri}}}'))

    @pytest.mark.parametrize(
        "body",
        ["{", '{"uri": "a"', '{"uri": "a"} x', "{'uri': 'a'}", '{"uri": NaN}', '{"uri": "a", "x": 1e400}'],
    )
    def test_what_begins_like_json_and_is_none_is_a_dead_letter(self, body: str) -> None:
        assert "JSON" in str(refused(body))

    @pytest.mark.parametrize("body", ["[]", '"gs://bucket/a.png"', "3", "null"])
    def test_json_that_is_no_object_is_a_dead_letter_when_json_is_asked_for(self, body: str) -> None:
        assert "no object" in str(refused(body, {}, "json"))

    def test_half_a_surrogate_pair_is_a_dead_letter(self) -> None:
        refused('{"uri": "gs://bucket/\\ud800.png"}')

    @pytest.mark.parametrize("depth", [10, 100, 200, 240])
    def test_nested_json_is_kept_and_can_be_written(self, depth: int) -> None:
        ref = parse(nested(depth))
        assert isinstance(ref, FileRef)
        assert FileRefCoder().decode(FileRefCoder().encode(ref)) == ref
        assert record_to_json(DeadLetter.of(ParseError("no", "no"), ref))

    @pytest.mark.parametrize("depth", [250, 255, 300, 1_000, 2_000, 100_000])
    def test_json_too_deep_to_be_written_is_a_dead_letter(self, depth: int) -> None:
        assert "JSON" in str(refused(nested(depth)))

    def test_eleven_megabytes_of_json_cost_no_more_than_a_part_of_them(self) -> None:
        body = b'{"uri": 3, "x": "' + b"x" * 11_000_000 + b'"}'
        assert refused(body).payload == body[:MAX_PAYLOAD_CHARS].decode()

    def test_eleven_megabytes_of_attributes_are_carried(self) -> None:
        ref = parse(b'{"uri": "gs://bucket/a.png", "x": "' + b"x" * 11_000_000 + b'"}')
        assert isinstance(ref, FileRef)
        assert len(ref.attributes["x"]) == 11_000_000


class TestInline:
    @pytest.mark.parametrize("content", [f'"{PNG_B64}"', f'{{"b64": "{PNG_B64}"}}'])
    def test_json_brings_the_bytes(self, content: str) -> None:
        ref = parse(f'{{"uri": "left.png", "content": {content}, "label": 3, "generation": 5}}')
        assert ref == FileRef("left.png", PNG_GENERATION, len(PNG), {"label": 3, "generation": 5}, PNG)

    def test_without_a_uri_the_message_names_the_file(self) -> None:
        ref = parse(f'{{"content": "{PNG_B64}"}}')
        assert ref == FileRef(f"pubsub:{ID}", PNG_GENERATION, len(PNG), {}, PNG)

    def test_without_an_id_its_bytes_do(self) -> None:
        ref = parse_message(PNG, {}, None, "bytes")
        assert isinstance(ref, FileRef)
        assert ref.uri == f"pubsub:{PNG_GENERATION}"

    def test_an_attribute_brings_them(self) -> None:
        ref = parse(b"", {"content": PNG_B64, "label": "3"})
        assert ref == FileRef(f"pubsub:{ID}", PNG_GENERATION, len(PNG), {"label": "3"}, PNG)

    @pytest.mark.parametrize("body", ["left.png", '{"uri": "left.png"}', ""])
    def test_beside_an_attribute_the_body_or_an_attribute_names_them(self, body: str) -> None:
        attributes = {"content": PNG_B64} if body else {"content": PNG_B64, "uri": "left.png"}
        assert parse(body, attributes) == FileRef("left.png", PNG_GENERATION, len(PNG), {}, PNG)

    def test_the_body_is_the_file_when_that_is_said(self) -> None:
        ref = parse(PNG, {"uri": "left.png", "label": "3"}, "bytes")
        assert ref == FileRef("left.png", PNG_GENERATION, len(PNG), {"label": "3"}, PNG)

    @pytest.mark.parametrize("content", ['""', '{"b64": ""}'])
    def test_no_bytes_are_an_empty_file(self, content: str) -> None:
        ref = parse(f'{{"content": {content}}}')
        assert isinstance(ref, FileRef)
        assert (ref.content, ref.size) == (b"", 0)

    @pytest.mark.parametrize(
        "content", ['"no base64"', '"YQ="', '"é"', "3", "[]", "{}", '{"b64": 3}', "true", "false"]
    )
    def test_what_is_no_base64_is_a_dead_letter(self, content: str) -> None:
        assert "base64" in str(refused(f'{{"uri": "left.png", "content": {content}}}'))

    def test_other_bytes_are_another_generation_within_64_bits(self) -> None:
        refs = [parse(bytes([number]) * 9, {}, "bytes") for number in range(256)]
        generations = {ref.generation for ref in refs if isinstance(ref, FileRef)}
        assert len(generations) == 256
        assert all(generation is not None and 0 <= generation < 2**63 for generation in generations)

    def test_it_travels(self) -> None:
        ref = parse(f'{{"content": "{PNG_B64}"}}')
        assert isinstance(ref, FileRef)
        assert FileRefCoder().decode(FileRefCoder().encode(ref)) == ref


class TestNoneOfThese:
    @pytest.mark.parametrize("message_format", ["auto", "notification", "name", "json"])
    def test_an_empty_message_is_a_dead_letter(self, message_format: str) -> None:
        assert refused(b"", {"label": "3"}, message_format).payload == ""

    def test_an_empty_message_of_bytes_is_an_empty_file(self) -> None:
        ref = parse(b"", {}, "bytes")
        assert isinstance(ref, FileRef)
        assert (ref.content, ref.size) == (b"", 0)

    @pytest.mark.parametrize("message_format", ["auto", "name", "json"])
    def test_what_is_not_utf8_is_a_dead_letter_whose_payload_can_be_read(self, message_format: str) -> None:
        error = refused(PNG, {}, message_format)
        assert "--message_format bytes" in str(error)
        assert error.payload == "\\x89PNG\r\n\x1a\n\0\\xff"

    @pytest.mark.parametrize("sign", ["x", "é", "字", "🙂"])
    def test_a_payload_is_cut_between_signs(self, sign: str) -> None:
        error = refused(f"{{{sign * 2 * MAX_PAYLOAD_CHARS}")
        assert error.payload == "{" + sign * (MAX_PAYLOAD_CHARS - 1)

    def test_the_dead_letter_of_any_bytes_can_be_written(self) -> None:
        letter = DeadLetter.of(refused(bytes(range(256)) * 1_000))
        assert record_to_json(letter)
        assert letter.payload is not None
        assert len(letter.payload) == MAX_PAYLOAD_CHARS

    def test_a_message_without_an_id_has_its_dead_letter_too(self) -> None:
        with pytest.raises(ParseError, match="message without an id is empty"):
            parse_message(b"", {})


def test_auto_is_the_first_format() -> None:
    assert MESSAGE_FORMATS[0] == "auto"
