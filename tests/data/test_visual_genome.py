"""Visual Genome: region descriptions by value, parts that share no image, bad records stopped at or left out."""

import json

import pytest

from tests.data.photographs import jpeg, put, put_genome, put_tar
from vlp.data import open_dataset
from vlp.data.dataset import hashed_split

HOW = "; dataset.on_error=skip leaves such records out and lists them"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def opened(root, split="all", **options):
    return open_dataset("visual_genome", root=root, split=split, **options)


def summary(dataset):
    return [(sample.image_id, sample.sample_id, sample.caption) for sample in dataset]


def test_a_record_worked_by_hand(tmp_path):
    root = put_genome(tmp_path / "vg", {1: ["shade is along the street "], 4: ["a dog", "a Dog"]}, coco={4: 77})
    put(root / "VG_100K_2" / "4.jpg", jpeg(size=(20, 10)))
    dataset = opened(root)
    assert summary(dataset) == [
        ("1", "100", "shade is along the street "),
        ("4", "400", "a dog"),
        ("4", "401", "a Dog"),
    ]
    sample = dataset[2]
    assert (sample.width, sample.height, sample.image().size, sample.regions) == (20, 10, (20, 10), None)
    assert (dataset.image_key(2), dataset.coco_id(2), dataset.coco_id(0)) == ("4", 77, None)


def test_parts_are_by_image(tmp_path):
    root = put_genome(tmp_path / "vg", {number: ["a", "b"] for number in range(50)})
    for split in ("train", "val", "test"):
        part = opened(root, split)
        keys = {part.image_key(index) for index in range(len(part))}
        assert keys == {str(number) for number in range(50) if hashed_split(str(number)) == split}
        assert len(part) == 2 * len(keys)


def test_images_in_shards(tmp_path):
    root = put_genome(tmp_path / "vg", {1: ["one"], 2: ["two"]})
    for file in root.glob("*/*.jpg"):
        file.unlink()
    put_tar(root / "shards" / "000000.tar", {"2.jpg": jpeg(size=(20, 10)), "1.jpg": jpeg(size=(10, 20))})
    assert [(sample.image_id, sample.image().size) for sample in opened(root)] == [("1", (10, 20)), ("2", (20, 10))]


@pytest.mark.parametrize("name", ["image_data.json", "region_descriptions.json"])
def test_a_missing_file_is_named(tmp_path, name):
    root = put_genome(tmp_path / "vg", {1: ["one"]})
    (root / name).unlink()
    with pytest.raises(ValueError) as error:
        opened(root)
    assert str(error.value) == f"dataset visual_genome: {root} holds no {name}; give dataset.root=DIR"


IMAGE_BAD = [
    ({"image_id": None}, "field image_id: found None, expected a whole number of at least 0"),
    ({"url": "2.jpg"}, "field url: found '2.jpg', expected an address that ends in FOLDER/NAME.jpg"),
    ({"url": "https://a.b/../2.jpg"}, "field url: found '..', expected a plain name"),
    ({"url": "https://a.b/c/"}, "field url: found '', expected a plain name"),
    ({"url": "https://[a/b/2.jpg"}, None),
    ({"coco_id": "7"}, "field coco_id: found '7', expected a whole number of at least 0"),
    ({"image_id": 1}, "found image 1 again, expected each image once"),
]


@pytest.mark.parametrize(("change", "message"), IMAGE_BAD, ids=range(len(IMAGE_BAD)))
def test_a_bad_image_record_is_named_or_left_out(tmp_path, change, message):
    root = put_genome(tmp_path / "vg", {1: ["one"], 2: ["two"]})
    path = root / "image_data.json"
    first, second = json.loads(path.read_text())
    put(path, [first, second | change])
    with pytest.raises(ValueError) as error:
        opened(root)
    assert message is None or str(error.value) == f"{path}, [1]: {message}{HOW}"
    assert summary(opened(root, on_error="skip")) == [("1", "100", "one")]


REGION_BAD = [
    ({"phrase": ""}, "found the caption '', expected words"),
    ({"phrase": 3}, "field phrase: found 3, expected a string"),
    ({"region_id": 1.5}, "field region_id: found 1.5, expected a whole number of at least 0"),
]


@pytest.mark.parametrize(("change", "message"), REGION_BAD, ids=range(len(REGION_BAD)))
def test_a_bad_region_is_named_or_left_out_alone(tmp_path, change, message):
    root = put_genome(tmp_path / "vg", {1: ["one", "other"]})
    path = root / "region_descriptions.json"
    entries = json.loads(path.read_text())
    entries[0]["regions"][0] |= change
    put(path, entries)
    with pytest.raises(ValueError) as error:
        opened(root)
    assert str(error.value) == f"{path}, [0], regions[0]: {message}{HOW}"
    assert summary(opened(root, on_error="skip")) == [("1", "101", "other")]


def test_regions_of_an_image_that_is_not_known_are_named(tmp_path):
    root = put_genome(tmp_path / "vg", {1: ["one"]})
    path = root / "region_descriptions.json"
    put(path, [*json.loads(path.read_text()), {"id": 5, "regions": [{"region_id": 1, "phrase": "a"}]}])
    with pytest.raises(ValueError) as error:
        opened(root)
    unknown = "found a caption of image 5, which is none of the images"
    assert str(error.value) == f"{path}, [1], regions[0]: {unknown}{HOW}"


def test_the_real_region_descriptions(tmp_path, shared):
    sample = shared / "data" / "visual_genome"
    if not sample.is_dir():
        pytest.skip(f"the Visual Genome sample is not at {sample}; put it there to run this test")
    root = tmp_path / "vg"
    for name in ("image_data.json", "region_descriptions.json"):
        put(root / name, (sample / name).read_bytes())
    images = json.loads((root / "image_data.json").read_text())
    for image in images:
        put(root / "/".join(image["url"].split("/")[-2:]), jpeg())
    dataset = opened(root)
    entries = json.loads((root / "region_descriptions.json").read_text("utf-8"))
    regions = [
        (str(entry["id"]), str(region["region_id"]), region["phrase"])
        for entry in entries
        for region in entry["regions"]
    ]
    assert summary(dataset) == regions
    assert len({key for key, _, _ in regions}) == len(images) == 50
    assert (len(regions), regions[1][2]) == (3_655, "shade is along the street ")
