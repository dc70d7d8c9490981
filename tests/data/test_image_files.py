"""Images by name, from folders and tar shards; what is missing or cannot be read is told once and for all."""

import errno
import io
import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.photographs import jpeg, put, put_images, put_tar
from vlp.data import image_files
from vlp.data.image_files import ImageFiles

RED, BLUE = jpeg((250, 0, 0), (8, 6)), jpeg((0, 0, 250), (5, 9))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vlp" / "images-2"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def colour(image: Image.Image) -> str:
    return ("red", "green", "blue")[int(np.asarray(image).mean((0, 1)).argmax())]


def test_folders_go_before_shards_and_shards_are_found_in_both_places(root):
    put(root / "train2014" / "a.jpg", RED)
    put_tar(root / "000000.tar", {"a.jpg": BLUE, "b.jpg": BLUE, "b.txt": b"words"})
    put_tar(root / "train2014" / "000000.tar", {"train2014/c.jpeg": BLUE})
    files = ImageFiles(root, ["train2014/a.jpg", "train2014/b.jpg", "train2014/c.jpg", "val2014/d.jpg"])
    assert files.missing() == [3]
    assert [colour(files[number].read()) for number in range(3)] == ["red", "blue", "blue"]
    assert [files[number].image_size() for number in range(3)] == [(8, 6), (5, 9), (5, 9)]
    assert str(files[1]) == f"{root / '000000.tar'}, member train2014/b.jpg"


def test_a_place_is_small_and_reads_in_another_process(root):
    put_tar(root / "0.tar", {f"{number}.jpg": BLUE for number in range(200)})
    place = ImageFiles(root, [f"x/{number}.jpg" for number in range(200)])[150]
    sent = pickle.dumps(place)
    assert len(sent) < 500
    assert colour(pickle.loads(sent).read()) == "blue"


def test_an_image_in_two_shards_is_named(root):
    for name in ("0.tar", "1.tar"):
        put_tar(root / name, {"a.jpg": BLUE, "other.jpg": RED})
    with pytest.raises(ValueError) as error:
        ImageFiles(root, ["x/a.jpg"])
    assert str(error.value) == f"{root / '1.tar'}: found a, which {root / '0.tar'} has; expected each image once"


def test_a_folder_of_an_image_is_no_image(root):
    (root / "x" / "a.jpg").mkdir(parents=True)
    with pytest.raises(ValueError) as error:
        ImageFiles(root, ["x/a.jpg"])[0].image_size()
    assert str(error.value) == f"{root / 'x' / 'a.jpg'}: found no file, expected an image"


def test_images_that_cannot_be_read_are_named(root):
    put(root / "x" / "a.jpg", RED)
    put(root / "x" / "b.jpg", RED[: len(RED) // 2])
    put_tar(root / "0.tar", {"c.jpg": b"no image", "d.jpg": BLUE})
    found = ImageFiles(root, [f"x/{name}.jpg" for name in "abcde"]).unreadable()
    assert list(found) == [1, 2]
    assert found[1].startswith(f"{root / 'x' / 'b.jpg'}: found no readable image (")
    assert found[2] == (
        f"{root / '0.tar'}, member x/c.jpg: found no PNG or JPEG image (it begins with b'no image'), "
        "expected one PNG or JPEG image"
    )


def test_an_image_is_decoded_once_until_its_file_changes(root, monkeypatch):
    names = [f"x/{number}.jpg" for number in range(5)]
    put_images(root, names)
    decoded = []
    real = image_files._problem
    monkeypatch.setattr(image_files, "_problem", lambda place: decoded.append(place.name) or real(place))
    assert ImageFiles(root, names).unreadable() == {}
    assert sorted(decoded) == names
    put(root / "x" / "3.jpg", b"broken")
    os.utime(root / "x" / "3.jpg", ns=(1, 1))
    assert list(ImageFiles(root, names).unreadable()) == list(ImageFiles(root, names).unreadable()) == [3]
    assert sorted(decoded) == sorted([*names, "x/3.jpg"])


class Stale(io.FileIO):
    """A file that opens and cannot be read, as on a disk that fails or is out of reach."""

    def read(self, size=-1):
        raise OSError(errno.EIO, "Input/output error")


def refuse(path, mode):
    raise OSError(errno.EMFILE, "Too many open files", str(path))


@pytest.mark.parametrize("fault", [refuse, Stale], ids=["open", "read"])
@pytest.mark.parametrize("name", ["b.jpg", "0.tar"])
def test_a_fault_of_reading_stops_and_is_not_remembered(root, monkeypatch, name, fault):
    put_images(root, ["x/a.jpg", "x/b.jpg"])
    put_tar(root / "0.tar", {"c.jpg": BLUE})
    names = [f"x/{letter}.jpg" for letter in "abc"]
    files = ImageFiles(root, names)
    real = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode="r", **more: (fault if path.name == name else real)(path, mode))
        with pytest.raises(OSError) as error:
            files.unreadable()
        with pytest.raises(OSError):
            files[names.index("x/b.jpg" if name == "b.jpg" else "x/c.jpg")].image_size()
    assert Path(error.value.filename).name == name
    assert error.value.errno in (errno.EMFILE, errno.EIO)
    assert ImageFiles(root, names).unreadable() == {}


def test_a_file_that_is_gone_while_it_is_checked_is_not_remembered(root, monkeypatch):
    path = put(root / "x" / "a.jpg", RED)
    before, files = path.stat(), ImageFiles(root, ["x/a.jpg"])
    real = image_files.read_rgb

    def gone(path):
        path.unlink()
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(image_files, "read_rgb", gone)
        with pytest.raises(FileNotFoundError) as error:
            files.unreadable()
    assert error.value.filename == str(path)
    put(path, RED)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ImageFiles(root, ["x/a.jpg"]).unreadable() == {}


@pytest.mark.parametrize("before", [0, image_files.HEADER - 300, 60_000], ids=["none", "some", "much"])
@pytest.mark.parametrize("write", [put, lambda path, content: put_tar(path.parent / "0.tar", {path.name: content})])
def test_a_header_is_read_as_far_as_it_goes(root, monkeypatch, write, before):
    profile = b"\xff\xe5" + (before + 2).to_bytes(2, "big") + bytes(before)  # a segment that says nothing
    content = RED[:2] + profile + RED[2:] + bytes(100_000)
    write(root / "x" / "a.jpg", content)
    place = ImageFiles(root, ["x/a.jpg"])[0]
    assert place.image_size() == place.read().size == (8, 6)
    read, real = [], image_files.image_size
    monkeypatch.setattr(image_files, "image_size", lambda start, where: read.append(len(start)) or real(start, where))
    place.image_size()
    assert read == ([image_files.HEADER] if before == 0 else [image_files.HEADER, len(content)])


def test_a_check_that_was_killed_goes_on_where_it_was(root, monkeypatch, cache):
    names = [f"x/{number}.jpg" for number in range(6)]
    put_images(root, names)
    put(root / "x" / "1.jpg", b"broken")
    monkeypatch.setattr(image_files, "CHECKED_AT_ONCE", 2)
    real, decoded = image_files._problem, []

    def dying(place):
        if place.name == "x/4.jpg":
            raise KeyboardInterrupt
        return real(place)

    with monkeypatch.context() as patch:
        patch.setattr(image_files, "_problem", dying)
        with pytest.raises(KeyboardInterrupt):
            ImageFiles(root, names).unreadable()
    (record,) = cache.glob("*.jsonl")
    with record.open("a") as file:
        file.write('\n["x/4.jpg|half a li')  # as a kill leaves it
    monkeypatch.setattr(image_files, "_problem", lambda place: decoded.append(place.name) or real(place))
    assert list(ImageFiles(root, names).unreadable()) == [1]
    assert sorted(decoded) == ["x/4.jpg", "x/5.jpg"]
    decoded.clear()
    assert list(ImageFiles(root, names).unreadable()) == [1]
    assert decoded == []


def test_a_check_says_how_far_it_is(root, caplog, monkeypatch):
    names = [f"x/{number}.jpg" for number in range(3)]
    put_images(root, names)
    monkeypatch.setattr(image_files, "CHECKED_AT_ONCE", 2)
    with caplog.at_level(logging.INFO):
        ImageFiles(root, names).unreadable()
    assert caplog.messages == [f"checking image {number} of 3 in {root}" for number in (1, 3)]
