"""One object a line: what is passed over, and what is refused by file and line."""

import json

import pytest

from vlp.data import json_lines
from vlp.data.json_lines import DEEPEST, parse_json, read_json_lines


def write(folder, content: bytes):
    path = folder / "records.jsonl"
    path.write_bytes(content)
    return path


def test_objects_come_with_their_place(tmp_path):
    path = write(tmp_path, b'{"a": 1}\n{"b": [true, null, 2.5, "x"]}\n')
    assert list(read_json_lines(path)) == [
        (f"{path}, line 1", {"a": 1}),
        (f"{path}, line 2", {"b": [True, None, 2.5, "x"]}),
    ]


def test_a_byte_order_mark_blank_lines_and_a_missing_last_newline_are_passed_over(tmp_path):
    path = write(tmp_path, b'\xef\xbb\xbf{"a": 1}\r\n\n   \n{"a": 2}')
    assert list(read_json_lines(path)) == [(f"{path}, line 1", {"a": 1}), (f"{path}, line 4", {"a": 2})]


def test_whole_characters_beyond_the_basic_plane_are_read():
    assert parse_json(b'"\\ud83d\\ude00"', "here") == parse_json('"\U0001f600"'.encode(), "here") == "\U0001f600"


def test_the_deepest_nesting_allowed_is_read():
    assert parse_json(b"[" * DEEPEST + b"]" * DEEPEST, "here") is not None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[1]", "found [1], expected an object"),
        (b'"text"', "found 'text', expected an object"),
        (b'{"a": NaN}', "found NaN, which is no JSON number"),
        (b'{"a": -Infinity}', "found -Infinity, which is no JSON number"),
        (b'{"a": 1e999}', "found the number '1e999', which is too large"),
        (b'{"a": 9223372036854775808}', "found the number '9223372036854775808', which 64 bits do not hold"),
        (b'{"a": ' + b"1" * 5000 + b"}", "which 64 bits do not hold"),
        (b'{"a": 1, "a": 2}', "the key 'a' occurs twice in one object"),
        (b'{"a": "\\ud800"}', r"found half a surrogate pair, '\ud800'; expected whole characters"),
        (b'{"\\udfff": 1}', r"found half a surrogate pair, '\udfff'; expected whole characters"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8 (invalid start byte)"),
        (b'{"a": "\xed\xa0\x80"}', "byte 8 is not UTF-8 (invalid continuation byte)"),
        (json.dumps({"a": 1}).encode("utf-16"), "byte 1 is not UTF-8 (invalid start byte)"),
        (b'{"a": 1', "not JSON (Expecting ',' delimiter at character 8); expected an object"),
        (b'{"a": 1} {"b": 2}', "not JSON (Extra data at character 10); expected an object"),
        (b'{"a": "tab\there"}', "not JSON (Invalid control character at at character 11); expected an object"),
        (b'{"a": ' + b"[" * 65 + b"]" * 65 + b"}", "nested deeper than 64 levels"),
        (b"[" * 1_000_000, "nested deeper than 64 levels"),
        (b'{"a":' * 1_000_000, "nested deeper than 64 levels"),
    ],
    ids=range(19),
)
def test_a_line_that_is_not_one_object_is_named(tmp_path, line, message):
    path = write(tmp_path, b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(ValueError) as error:
        list(read_json_lines(path))
    assert str(error.value).startswith(f"{path}, line 2: ")
    assert str(error.value).endswith(message)


def test_a_file_that_ends_in_the_middle_of_a_record_says_so(tmp_path):
    path = write(tmp_path, b'{"a": 1}\n{"a": 2, "b"')
    with pytest.raises(ValueError) as error:
        list(read_json_lines(path))
    assert str(error.value).startswith(f"{path}, line 2, where the file ends: not JSON (")


def test_a_line_without_end_is_refused_before_it_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "LONGEST_LINE", 100)
    path = write(tmp_path, b'{"a": 1}\n{"a": "' + b"x" * 1000)
    with pytest.raises(ValueError) as error:
        list(read_json_lines(path))
    assert str(error.value) == f"{path}, line 2: longer than 100 bytes; expected one object a line"
