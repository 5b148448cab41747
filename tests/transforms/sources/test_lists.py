"""Lists of names: text, CSV and JSON Lines."""

from __future__ import annotations

import bz2
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulators.storage import fake_gcs_server, storage_client_of
from transforms.errors import ListError, ParseError
from transforms.json_values import record_to_json
from transforms.records import DeadLetter, FileRef
from transforms.sources.lists import Entry, read_list

Reader = Callable[[str, bytes], list[Entry]]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Return a function that writes a list and reads it."""

    def write_and_read(name: str, content: bytes) -> list[Entry]:
        path = tmp_path / name
        path.write_bytes(content)
        return list(read_list(str(path)))

    return write_and_read


def error_of(entry: Entry) -> ParseError:
    assert isinstance(entry, ParseError)
    return entry


class TestText:
    def test_each_line_is_a_name(self, read: Reader) -> None:
        assert read("names.txt", b"a.png\ngs://bucket/b.png\n") == [
            FileRef("a.png"),
            FileRef("gs://bucket/b.png"),
        ]

    @pytest.mark.parametrize("name", ["names", "names.list", "names.tsv", "names.TXT"])
    def test_any_other_ending_is_text(self, read: Reader, name: str) -> None:
        assert read(name, b"a,b.png\n") == [FileRef("a,b.png")]

    def test_the_last_line_needs_no_end(self, read: Reader) -> None:
        assert read("names.txt", b"a.png\nb.png") == [FileRef("a.png"), FileRef("b.png")]

    def test_lines_may_end_as_on_windows(self, read: Reader) -> None:
        assert read("names.txt", b"a.png\r\nb.png\r\n") == [FileRef("a.png"), FileRef("b.png")]

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, read: Reader) -> None:
        assert read("names.txt", b"\xef\xbb\xbfa.png\n") == [FileRef("a.png")]

    def test_blank_lines_are_passed_over(self, read: Reader) -> None:
        assert read("names.txt", b"\n\na.png\n \n\t\r\nb.png\n\n") == [FileRef("a.png"), FileRef("b.png")]

    @pytest.mark.parametrize("name", ["a b.png", "100%.png", '"quoted".png', "a,b.png", "déjà 数字.png", "#"])
    def test_a_name_is_taken_as_it_is(self, read: Reader, name: str) -> None:
        assert read("names.txt", f"{name}\n".encode()) == [FileRef(name)]

    @pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\u0085", "\u2028"])
    def test_only_a_newline_ends_a_line(self, read: Reader, separator: str) -> None:
        assert read("names.txt", f"a{separator}b.png\n".encode()) == [FileRef(f"a{separator}b.png")]

    def test_the_same_name_twice_is_two_inputs(self, read: Reader) -> None:
        assert read("names.txt", b"a.png\na.png\n") == [FileRef("a.png"), FileRef("a.png")]

    def test_a_line_that_is_not_utf8_costs_itself_only(self, read: Reader) -> None:
        first, bad, last = read("names.txt", b"a.png\n\n\xff\xe9.png\nb.png\n")
        assert (first, last) == (FileRef("a.png"), FileRef("b.png"))
        assert "line 3 of " in str(bad)
        assert "UTF-8" in str(bad)
        assert error_of(bad).payload == "\\xff\\xe9.png"


class TestCsv:
    def test_the_other_columns_become_attributes(self, read: Reader) -> None:
        assert read("names.csv", b"label,uri,split\n3,a.png,test\n,b.png,\n") == [
            FileRef("a.png", attributes={"label": "3", "split": "test"}),
            FileRef("b.png", attributes={"label": "", "split": ""}),
        ]

    def test_a_column_of_names_is_enough(self, read: Reader) -> None:
        assert read("names.csv", b"uri\na.png\n") == [FileRef("a.png")]

    def test_lines_may_end_as_on_windows_after_a_byte_order_mark(self, read: Reader) -> None:
        assert read("names.csv", b"\xef\xbb\xbfuri,label\r\na.png,3\r\n") == [
            FileRef("a.png", attributes={"label": "3"})
        ]

    def test_quotes_keep_commas_newlines_and_quotes(self, read: Reader) -> None:
        content = b'uri,label\n"a,b.png","3\n4"\n"line\nbreak.png",5\n"""q"".png",6\n'
        assert read("names.csv", content) == [
            FileRef("a,b.png", attributes={"label": "3\n4"}),
            FileRef("line\nbreak.png", attributes={"label": "5"}),
            FileRef('"q".png', attributes={"label": "6"}),
        ]

    def test_blank_lines_are_passed_over(self, read: Reader) -> None:
        assert read("names.csv", b"uri\n\na.png\n\n\nb.png\n\n") == [FileRef("a.png"), FileRef("b.png")]

    def test_blank_lines_before_the_header_are_passed_over(self, read: Reader) -> None:
        assert read("names.csv", b"\n\nuri\na.png\n") == [FileRef("a.png")]

    def test_a_line_without_a_uri_costs_itself_only(self, read: Reader) -> None:
        first, bad, last = read("names.csv", b"uri,label\na.png,1\n,2\nb.png,3\n")
        assert [first, last] == [
            FileRef("a.png", attributes={"label": "1"}),
            FileRef("b.png", attributes={"label": "3"}),
        ]
        assert "line 3 of " in str(bad)
        assert str(bad).endswith("has no uri")
        assert error_of(bad).payload == ",2"

    def test_a_line_with_more_fields_than_the_header_costs_itself_only(self, read: Reader) -> None:
        bad, last = read("names.csv", b"uri,label\na.png,1,what\nb.png,3\n")
        assert last == FileRef("b.png", attributes={"label": "3"})
        assert "has more fields than the header" in str(bad)
        assert error_of(bad).payload == "a.png,1,what"

    def test_a_line_with_fewer_fields_lacks_these_attributes(self, read: Reader) -> None:
        assert read("names.csv", b"uri,label,split\na.png,1\n") == [
            FileRef("a.png", attributes={"label": "1", "split": None})
        ]

    def test_a_line_that_is_not_utf8_costs_itself_only(self, read: Reader) -> None:
        first, bad, last = read("names.csv", b"uri,label\na.png,1\nb.png,\xff\nc.png,3\n")
        assert isinstance(first, FileRef)
        assert isinstance(last, FileRef)
        assert "line 3 of " in str(bad)
        assert "\\xff" in error_of(bad).payload

    def test_a_stray_quote_costs_its_own_line_only(self, read: Reader) -> None:
        first, bad, last = read("names.csv", b'uri,label\na.png,1\n"b".png,2\nc.png,3\n')
        assert isinstance(first, FileRef)
        assert isinstance(last, FileRef)
        assert "line 3 of " in str(error_of(bad))

    def test_an_unclosed_quote_costs_its_own_line_only(self, read: Reader) -> None:
        lines = "".join(f"{number}.png,1\n" for number in range(20_000))
        bad, *good = read("names.csv", b'uri,x\n"bad.png,1\n' + lines.encode())
        assert "line 2 of " in str(error_of(bad))
        assert error_of(bad).payload == '"bad.png,1'
        assert good == [FileRef(f"{number}.png", attributes={"x": "1"}) for number in range(20_000)]

    def test_a_line_that_is_neither_csv_nor_utf8_can_be_written(self, read: Reader) -> None:
        bad, good = read("names.csv", b'uri,x\n"abc"d\xe9,x\ngood.png,1\n')
        assert error_of(bad).payload == '"abc"d\\xe9,x'
        assert record_to_json(DeadLetter.of(error_of(bad)))
        assert good == FileRef("good.png", attributes={"x": "1"})

    def test_what_cannot_be_parsed_is_kept(self, read: Reader) -> None:
        _, bad, _ = read("names.csv", b'uri,label\na.png,1\n"b".png,2\nc.png,3\n')
        assert error_of(bad).payload == '"b".png,2'

    def test_an_overlong_field_costs_its_own_line_only(self, read: Reader) -> None:
        bad, last = read("names.csv", b"uri,label\na.png," + b"x" * 200_000 + b"\nb.png,2\n")
        assert isinstance(bad, ParseError | FileRef)
        assert last == FileRef("b.png", attributes={"label": "2"})

    def test_without_a_uri_column_the_list_is_refused_with_its_columns(self, read: Reader) -> None:
        with pytest.raises(ListError, match=r"names\.csv has no column 'uri', only URI, label$"):
            read("names.csv", b"URI,label\na.png,1\n")

    def test_a_header_that_cannot_be_parsed_is_refused(self, read: Reader) -> None:
        with pytest.raises(ListError, match=r"names\.csv"):
            read("names.csv", b'"uri,label\na.png,1\n')

    def test_a_header_alone_is_an_empty_list(self, read: Reader) -> None:
        with pytest.raises(ListError, match="is empty"):
            read("names.csv", b"uri,label\n")


class TestJsonLines:
    def test_the_other_members_become_attributes_with_their_types(self, read: Reader) -> None:
        line = b'{"uri": "a.png", "i": 3, "f": 0.5, "b": true, "n": null, "l": [1, "x"], "o": {"p": {}}}\n'
        assert read("names.jsonl", line) == [
            FileRef(
                "a.png",
                attributes={"i": 3, "f": 0.5, "b": True, "n": None, "l": [1, "x"], "o": {"p": {}}},
            )
        ]

    def test_types_stay_apart(self, read: Reader) -> None:
        line = b'{"uri": "a.png", "i": 1, "f": 1.0, "b": true, "s": "1"}'
        (ref,) = read("names.jsonl", line)
        assert isinstance(ref, FileRef)
        assert [type(value) for value in ref.attributes.values()] == [int, float, bool, str]

    def test_blank_lines_byte_order_mark_and_windows_line_ends(self, read: Reader) -> None:
        content = b'\xef\xbb\xbf{"uri": "a.png"}\r\n\r\n{"uri": "b.png"}\r\n'
        assert read("names.jsonl", content) == [FileRef("a.png"), FileRef("b.png")]

    def test_escaped_names_are_decoded(self, read: Reader) -> None:
        assert read("names.jsonl", rb'{"uri": "d\u00e9j\u00e0\n\ud83d\ude42.png"}') == [
            FileRef("déjà\n🙂.png")
        ]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (b"{", "line 2 of .* is not JSON"),
            (b"a.png", "line 2 of .* is not JSON"),
            (b'{"uri": "a.png",}', "is not JSON"),
            (b'{"uri": "\xff"}', "is not JSON"),
            (rb'{"uri": "\ud800"}', "is not JSON"),
            (b'{"uri": "a.png", "x": NaN}', "is not JSON"),
            (b'["a.png"]', "is not an object with a member 'uri'"),
            (b'"a.png"', "is not an object"),
            (b"null", "is not an object"),
            (b'{"label": 3}', "line 2 of .* has no uri"),
            (b'{"uri": null}', "has no uri"),
            (b'{"uri": ""}', "has no uri"),
            (b'{"uri": 3}', "has no uri"),
            (b'{"uri": ["a.png"]}', "has no uri"),
        ],
        ids=lambda value: value.decode(errors="replace") if isinstance(value, bytes) else "",
    )
    def test_a_line_that_names_no_file_costs_itself_only(
        self, read: Reader, line: bytes, message: str
    ) -> None:
        first, bad, last = read("names.jsonl", b'{"uri": "a.png"}\n' + line + b'\n{"uri": "b.png"}\n')
        assert (first, last) == (FileRef("a.png"), FileRef("b.png"))
        with pytest.raises(ParseError, match=message):
            raise error_of(bad)
        assert error_of(bad).payload == line.decode(errors="backslashreplace")

    def test_attributes_that_are_nested_too_deeply_cost_their_own_line(self, read: Reader) -> None:
        bad, last = read(
            "names.jsonl",
            b'{"uri": "a.png", "x": ' + b"[" * 500 + b"]" * 500 + b'}\n{"uri": "b.png"}\n',
        )
        assert "UTF-8" not in str(error_of(bad))
        assert last == FileRef("b.png")


class TestAnyList:
    CONTENTS = (
        ("names.txt", b"a.png\n"),
        ("names.csv", b"uri\na.png\n"),
        ("names.jsonl", b'{"uri": "a.png"}\n'),
    )

    @pytest.mark.parametrize(("name", "content"), CONTENTS)
    def test_it_may_be_compressed(self, read: Reader, name: str, content: bytes) -> None:
        assert read(f"{name}.gz", gzip.compress(content)) == [FileRef("a.png")]
        assert read(f"{name}.bz2", bz2.compress(content)) == [FileRef("a.png")]

    @pytest.mark.parametrize(("name", "content"), CONTENTS)
    def test_its_ending_may_be_in_capitals(self, read: Reader, name: str, content: bytes) -> None:
        assert read(name.upper(), content) == [FileRef("a.png")]
        assert read(f"{name}.gz".upper(), gzip.compress(content)) == [FileRef("a.png")]

    def test_it_may_be_of_several_compressed_parts(self, read: Reader) -> None:
        parts = gzip.compress(b"a.png\n") + gzip.compress(b"b.png\n")
        assert read("names.txt.gz", parts) == [FileRef("a.png"), FileRef("b.png")]

    def test_it_may_have_an_awkward_name(self, read: Reader) -> None:
        assert read("a b%20[x]*.txt", b"a.png\n") == [FileRef("a.png")]

    @pytest.mark.parametrize("content", [b"a.png\n", gzip.compress(b"a.png\n" * 10_000)[:-20]])
    def test_one_whose_compression_is_damaged_is_refused(self, read: Reader, content: bytes) -> None:
        with pytest.raises(ListError, match=r"names\.txt\.gz"):
            read("names.txt.gz", content)

    @pytest.mark.parametrize("name", ["names.txt", "names.csv", "names.jsonl"])
    @pytest.mark.parametrize("content", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
    def test_an_empty_one_is_refused(self, read: Reader, name: str, content: bytes) -> None:
        with pytest.raises(ListError, match=rf"the list .*{name} is empty"):
            read(name, content)

    def test_one_whose_lines_all_are_bad_is_not_empty(self, read: Reader) -> None:
        assert [type(entry) for entry in read("names.jsonl", b"{\n}\n")] == [ParseError, ParseError]

    @pytest.mark.parametrize("name", ["names.txt", "names.csv", "names.jsonl", "names.csv.gz", "no/names"])
    def test_a_missing_one_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ListError, match=rf"the list .*{name} cannot be read"):
            list(read_list(str(tmp_path / name)))

    def test_a_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ListError, match="cannot be read"):
            list(read_list(str(tmp_path)))

    def test_an_unknown_place_is_refused(self) -> None:
        with pytest.raises(ListError, match="cannot be read"):
            list(read_list("nowhere://names.txt"))

    def test_a_long_one_is_read_line_by_line(self, tmp_path: Path) -> None:
        path = tmp_path / "names.txt"
        path.write_bytes(b"a.png\n" * 1_000_000)
        entries = read_list(str(path))
        assert next(entries) == FileRef("a.png")
        os.truncate(path, 0)  # what is not read yet is gone: so it was not in memory
        assert sum(1 for _ in entries) < 999_999

    def test_it_may_be_in_cloud_storage(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import google.auth
        from google.auth.credentials import AnonymousCredentials

        def anonymous(*_args: Any, **_options: Any) -> tuple[AnonymousCredentials, str]:
            return AnonymousCredentials(), "project"

        monkeypatch.setattr(google.auth, "default", anonymous)
        with fake_gcs_server() as host, storage_client_of(host) as client:
            client.create_bucket("bucket").blob("names.csv").upload_from_string(b"uri,label\na.png,1\n")
            assert list(read_list("gs://bucket/names.csv")) == [FileRef("a.png", attributes={"label": "1"})]
            with pytest.raises(ListError, match="cannot be read"):
                list(read_list("gs://bucket/nothing.csv"))
