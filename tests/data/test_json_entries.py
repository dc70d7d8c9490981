"""Long lists entry by entry: what json reads of them, whatever the size of the pieces, and what is refused."""

import json
import tracemalloc

import pytest

from vlp.data import json_entries
from vlp.data.json_entries import read_entries

DOCUMENT = {
    "info": {"description": 'a }]" b', "year": 2014},
    "type": "captions",
    "number": 12.5e-3,
    "licenses": [1.5, 2, [2, 3], {"id": 4}],
    "images": [{"id": 1, "name": "a\\b ü 😀"}, {"id": 2, "of": [[], {}]}],
    "annotations": [],
}


def write(folder, content: bytes):
    path = folder / "file.json"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("chunk", [1, 2, 7, 2**20])
@pytest.mark.parametrize("text", [json.dumps(DOCUMENT), json.dumps(DOCUMENT, indent=1, ensure_ascii=False)])
def test_entries_of_the_lists_that_are_asked_for(tmp_path, monkeypatch, chunk, text):
    monkeypatch.setattr(json_entries, "CHUNK", chunk)
    path = write(tmp_path, b"\xef\xbb\xbf" + text.encode() + b" \n")
    found = [tuple(entry) for entry in read_entries(path, ("images", "annotations"))]
    assert found == [("images", f"{path}, images[{n}]", DOCUMENT["images"][n]) for n in range(2)]


@pytest.mark.parametrize("chunk", [1, 3, 2**20])
def test_a_document_that_is_a_list(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_entries, "CHUNK", chunk)
    path = write(tmp_path, b'[{"id": 1},\n {"id": [2]}]')
    assert [(entry.where, entry.values) for entry in read_entries(path)] == [
        (f"{path}, [0]", {"id": 1}),
        (f"{path}, [1]", {"id": [2]}),
    ]
    assert list(read_entries(write(tmp_path, b" [ ] "))) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": found the end, expected an object with images"),
        (b"[]", ": found '[', expected an object with images"),
        (b"{}", ": found nothing, expected 'images' as well"),
        (b'{"a": [], "b": 1}', ": found 'a', 'b', expected 'images' as well"),
        (b'{"images": 3}', ": found '3', expected a list as images"),
        (b'{"images": [3]}', ", images[0]: found 3, expected an object"),
        (b'{"images": [{"a": 1}', ": found the end, expected ',' or ']' before images[1]"),
        (b'{"images": [{"a": 1} {', ": found '{', expected ',' or ']' before images[1]"),
        (b'{"images": [{"a": 1},]}', ", images[1]: not JSON where the file ends (Expecting value)"),
        (b'{"images": [{"a": 1', ", images[0]: not JSON where the file ends (Expecting ',' delimiter)"),
        (b'{"images": [], "images": []}', ": found 'images', expected a key that has not been yet"),
        (b'{"images": []} {}', ": found '{', expected the end"),
        (b'{"images": [] "b": 1}', ": found '\"', expected ',' or '}'"),
        (b'{"images" []}', ": found '[', expected ':' after 'images'"),
        (b"{3: []}", ": found 3, expected a key that has not been yet"),
        (b'{"images": [{"a": NaN}]}', ", images[0]: found NaN, which is no JSON number"),
        (b'{"images": [{"a": 1, "a": 2}]}', ", images[0]: the key 'a' occurs twice in one object"),
        (b'{"images": [{"a": "\\ud800"}]}', None),
        (b'{"images": [{"a": "\xff"}]}', None),
        (b'{"images": [{"a": "\xc3', None),
        (b'{"images": [' + b'{"a":' * 100_000, ", images[0]: nested deeper than 64 levels"),
        (b'{"other": [' + b"[" * 100_000, ", other[0]: nested deeper than 64 levels"),
    ],
    ids=range(22),
)
def test_what_is_not_as_it_should_be_is_named(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(ValueError) as error:
        list(read_entries(path, ("images",)))
    assert str(error.value).startswith(str(path))
    assert message is None or str(error.value) == f"{path}{message}"


@pytest.mark.parametrize(("at", "found"), [(0, 1), (10, 11), (8191, 8192), (8193, 8194)])
def test_a_byte_that_is_not_utf_8_is_counted_from_the_start(tmp_path, monkeypatch, at, found):
    monkeypatch.setattr(json_entries, "CHUNK", 64)
    path = write(tmp_path, b" " * at + b"\xff")
    with pytest.raises(ValueError) as error:
        list(read_entries(path))
    assert str(error.value) == f"{path}: near byte {found} it is not UTF-8 (invalid start byte)"


def test_an_entry_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(json_entries, "CHUNK", 100)
    monkeypatch.setattr(json_entries, "LONGEST_ENTRY", 1_000)
    path = write(tmp_path, b'[{"a": "' + b"x" * 10_000)
    with pytest.raises(ValueError) as error:
        list(read_entries(path))
    assert str(error.value).startswith(f"{path}, [0]: not JSON within 1,000 characters (Unterminated string")


def test_memory_does_not_grow_with_the_list(tmp_path, monkeypatch):
    monkeypatch.setattr(json_entries, "CHUNK", 2**14)
    peaks = []
    for count in (2_000, 20_000):
        path = write(tmp_path, json.dumps([{"id": number, "text": "x" * 50} for number in range(count)]).encode())
        tracemalloc.start()
        assert sum(1 for _ in read_entries(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


def test_the_real_region_descriptions_are_what_json_reads(shared):
    path = shared / "data" / "visual_genome" / "region_descriptions.json"
    if not path.is_file():
        pytest.skip(f"the Visual Genome sample is not at {path}; put it there to run this test")
    assert [entry.values for entry in read_entries(path)] == json.loads(path.read_text("utf-8"))
