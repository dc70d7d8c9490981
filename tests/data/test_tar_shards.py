"""Where the images of a tar file are: as tarfile says for every format, and nothing that a hostile one claims."""

import gzip
import io
import tarfile

import pytest

from tests.data.photographs import jpeg, put, put_tar
from vlp.data import tar_shards
from vlp.data.strings import Strings
from vlp.data.tar_shards import image_key, members, read_member, read_shard

LONG = "folder/" * 40 + "0007.jpg"
CONTENT = {"0001.jpg": jpeg(), "0001.json": b"{}", "a/0002.JPEG": b"x" * 511, "0003.seg.png": b"", "4.png": b"y" * 513}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_tarfile_finds(tmp_path, form):
    path = put_tar(
        tmp_path / "a.tar", {**CONTENT, **({} if form == tarfile.USTAR_FORMAT else {LONG: b"z"}), "5.txt": b""}, form
    )
    with tarfile.open(path) as archive:
        expected = [(info.name, info.offset_data, info.size) for info in archive.getmembers()]
    assert [tuple(member) for member in members(path)] == expected
    for (name, content), (_, offset, size) in zip(CONTENT.items(), expected, strict=False):
        assert (name, read_member(path, offset, size)) == (name, content)


def test_folders_and_links_are_passed_over(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("folder", tarfile.DIRTYPE), ("1.jpg", tarfile.SYMTYPE), ("2.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("3.jpg"))
    assert [member.name for member in members(path)] == ["3.jpg"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("0001.jpg", "0001"),
        ("deep/er/COCO_val2014_000000000042.JPEG", "COCO_val2014_000000000042"),
        ("../../../etc/1.png", "1"),
        ("0001.seg.png", None),
        ("0001.json", None),
        ("jpg", None),
    ],
)
def test_the_key_of_an_image(name, key):
    assert image_key(name) == key


def test_an_index_is_kept_until_the_file_changes(tmp_path, monkeypatch):
    path = put_tar(tmp_path / "a.tar", CONTENT)
    first = read_shard(path)
    assert list(first.keys) == ["0001", "0002", "4"]
    with monkeypatch.context() as patch:
        patch.setattr(tar_shards, "members", None)
        again = read_shard(path)
    assert (list(again.keys), again.offsets.tolist(), again.sizes.tolist()) == (
        list(first.keys),
        first.offsets.tolist(),
        first.sizes.tolist(),
    )
    put_tar(path, {"9.jpg": b"other"})
    assert list(read_shard(path).keys) == ["9"]


def test_a_damaged_index_is_made_again(tmp_path):
    path = put_tar(tmp_path / "a.tar", CONTENT)
    read_shard(path)
    (kept,) = (tmp_path / "cache" / "vlp" / "shards-1").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert list(read_shard(path).keys) == ["0001", "0002", "4"]


def test_an_archive_without_images_has_none(tmp_path):
    assert isinstance(read_shard(put_tar(tmp_path / "a.tar", {})).keys, Strings)
    assert len(read_shard(put(tmp_path / "b.tar", b"")).keys) == 0


def header(**changes) -> bytes:
    info = tarfile.TarInfo("1.jpg")
    for name, value in changes.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def negative() -> bytes:
    block = bytearray(header())
    block[124:136] = b"\xff" * 12  # -1 in base 256
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(bytes(1024)), "found a compressed file, expected a plain tar file: unpack it with gunzip"),
        (b"no tar file " * 100, "byte 0: found no tar header (invalid header), expected one"),
        (header()[:100], "byte 0: found the end in the middle of a header"),
        (header(size=5) + b"abc", "byte 0: found a member of 5 bytes, expected at most the file's"),
        (header(size=8**20), f"byte 0: found a member of {8**20} bytes, expected at most the file's"),
        (negative() + bytes(1024), "byte 0: found a member of -1 bytes, expected at most the file's"),
        (header(type=tarfile.GNUTYPE_SPARSE) + bytes(1024), "byte 0: found a sparse file, expected whole ones"),
        (
            header(type=tarfile.GNUTYPE_LONGNAME, size=2**21) + bytes(2**21),
            "byte 512: found a name of 2,097,152 bytes, expected at most 1,048,576",
        ),
        (
            header(type=tarfile.XHDTYPE, size=2**21) + bytes(2**21),
            "byte 512: found a name of 2,097,152 bytes, expected at most 1,048,576",
        ),
        (header() + b"x" * 512, "byte 512: found no tar header (invalid header), expected one"),
    ],
    ids=range(10),
)
def test_a_hostile_archive_is_refused_by_name(tmp_path, content, message):
    path = put(tmp_path / "a.tar", content)
    with pytest.raises(ValueError) as error:
        read_shard(path)
    assert str(error.value) == f"{path}: {message}"


def test_names_that_are_not_text_harm_nothing(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        info = tarfile.TarInfo("\xff\xfe.jpg")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    assert list(read_shard(path).keys) == ["��"]


def test_a_member_that_is_too_large_or_gone_is_named(tmp_path, monkeypatch):
    path = put(tmp_path / "a.tar", b"x" * 600)
    with pytest.raises(ValueError) as error:
        read_member(path, 512, 100)
    assert str(error.value) == f"{path}, byte 512: found b'xxxxxxxx' and the end, expected 100 bytes"
    monkeypatch.setattr(tar_shards, "LARGEST_IMAGE", 99)
    with pytest.raises(ValueError) as error:
        read_member(path, 512, 100)
    assert str(error.value) == f"{path}, byte 512: found 100 bytes, expected an image of at most 99"
