"""COCO: records read by value, splits as published, bad records and images stopped at or left out and listed."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.photographs import (
    coco_name,
    jpeg,
    karpathy_record,
    put,
    put_captions,
    put_images,
    put_karpathy,
    put_tar,
)
from vlp.data import open_dataset
from vlp.data.dataset import hashed_split
from vlp.data.groups import Texts
from vlp.data.loading import PretrainingData
from vlp.data.masking import TextMasking
from vlp.data.ordering import Place
from vlp.data.pairs import PretrainingPairs
from vlp.data.pixels import PixelInput
from vlp.data.tokenisation import open_tokenizer

HOW = "; dataset.on_error=skip leaves such records out and lists them"
CAPTIONS = {9: ["A dog. ", "A\ndog runs."], 25: ["Two giraffes."], 30: ["A vase."]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vlp"


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "coco"


def opened(root, split="train", **options):
    return open_dataset("coco", root=root, split=split, **options)


def summary(dataset):
    return [(sample.image_id, sample.caption) for sample in dataset]


def published(root, with_images=True):
    """Karpathy's four splits, two captions each."""
    splits = {1: "train", 2: "restval", 3: "val", 4: "test", 5: "train"}
    records = [karpathy_record(number, split, [f"{split} {number} a", "b "]) for number, split in splits.items()]
    return put_karpathy(root, records, with_images)


def test_a_record_worked_by_hand(root):
    put(root / "dataset_coco.json", {"images": [karpathy_record(391895, "test", ["A man. ", "Riding."])]})
    put(root / "val2014" / "COCO_val2014_000000391895.jpg", jpeg((0, 0, 250), (12, 7)))
    dataset = opened(root, "test")
    assert (len(dataset), dataset.feature_width, dataset.annotations) == (2, None, {"pixels"})
    sample = dataset[0]
    assert (sample.image_id, sample.sample_id, sample.caption) == ("391895", "391895000", "A man. ")
    assert (sample.width, sample.height, sample.regions, sample.is_matched) == (12, 7, None, True)
    assert (dataset.caption(1), dataset.image_key(1), dataset.image_id(1)) == ("Riding.", "391895", "391895")
    assert (dataset.regions(1), dataset.is_matched(1)) == (None, True)
    image = sample.image()
    assert (image.mode, image.size, int(np.asarray(image).mean((0, 1)).argmax())) == ("RGB", (12, 7), 2)


def test_karpathy_trains_on_restval_too(root):
    published(root)
    images = {split: {key for key, _ in summary(opened(root, split))} for split in ("train", "val", "test", "all")}
    assert images == {"train": {"1", "2", "5"}, "val": {"3"}, "test": {"4"}, "all": {"1", "2", "3", "4", "5"}}


def test_official_train_and_val_are_those(root):
    put_captions(root, "train2014", CAPTIONS)
    put_captions(root, "val2014", {42: ["A cat."]})
    assert summary(opened(root, "val")) == [("42", "A cat.")]
    # The captions of an image stand together, those of one image in the order of the file, here from the last on.
    assert summary(opened(root)) == [
        ("9", "A\ndog runs."),
        ("9", "A dog. "),
        ("25", "Two giraffes."),
        ("30", "A vase."),
    ]
    with pytest.raises(ValueError) as error:
        opened(root, "test")
    assert str(error.value) == (
        f"dataset coco: {root} holds train2014 and val2014, but split test needs dataset_coco.json (Karpathy's splits)"
    )


def test_a_single_official_file_is_divided_by_image(root):
    put_captions(root, "val2017", {number: ["One.", "Two."] for number in range(60)})
    parts = {split: opened(root, split) for split in ("train", "val", "test", "all")}
    assert len(parts["all"]) == 120
    for split in ("train", "val", "test"):
        keys = {parts[split].image_key(index) for index in range(len(parts[split]))}
        assert keys == {str(number) for number in range(60) if hashed_split(str(number)) == split}
        assert len(parts[split]) == 2 * len(keys)


def test_which_splits_are_read_can_be_said(root):
    published(root)
    put_captions(root, "train2014", CAPTIONS)
    put_captions(root, "val2014", {42: ["A cat."]})
    put_captions(root, "train2017", {9: ["Again."]})
    assert len(opened(root)) == 6
    assert len(opened(root, splits="2014")) == len(opened(root, splits=2014)) == 4
    assert summary(opened(root, "all", splits="2017")) == [("9", "Again.")]
    (root / "dataset_coco.json").unlink()
    with pytest.raises(ValueError) as error:
        opened(root)
    assert str(error.value) == (
        f"dataset coco: {root} holds those of 2014 and 2017, expected 2014 or 2017; give dataset.splits or dataset.root"
    )
    with pytest.raises(ValueError) as error:
        opened(root, splits="karpathy")
    assert "holds those of 2014 and 2017, expected karpathy" in str(error.value)


def test_a_root_without_captions_is_named(root):
    root.mkdir()
    with pytest.raises(ValueError) as error:
        opened(root)
    expected = "expected dataset_coco.json or annotations/captions_train2014.json"
    assert (
        str(error.value) == f"dataset coco: {root} holds no captions, {expected}; give dataset.splits or dataset.root"
    )


def test_images_may_lie_in_tar_shards_or_in_a_folder_of_their_own(root):
    published(root, with_images=False)
    with pytest.raises(ValueError):
        opened(root)
    names = {number: coco_name(number, "train2014" if number in (1, 5) else "val2014") for number in range(1, 6)}
    for shard, numbers in enumerate(((1, 2), (3, 4, 5))):
        members = {names[number]: jpeg(size=(10 + number, 6)) for number in numbers}
        put_tar(root / "images" / f"{shard:06d}.tar", members)
    assert [(sample.image_id, sample.image().size) for sample in opened(root, "all")][::2] == [
        (str(number), (10 + number, 6)) for number in range(1, 6)
    ]


def test_a_missing_image_stops_or_is_left_out_and_counted(root, caplog):
    published(root)
    gone = root / "train2014" / coco_name(1, "train2014")
    gone.unlink()
    assert len(opened(root, "val")) == 2
    with pytest.raises(ValueError) as error:
        opened(root)
    assert str(error.value) == (
        f"dataset coco: no image {gone}, in a folder or in a tar shard; 1 of 3 images of split train are not there{HOW}"
    )
    with caplog.at_level(logging.WARNING):
        dataset = opened(root, on_error="skip")
    assert {key for key, _ in summary(dataset)} == {"2", "5"}
    counts = "0 records, 1 images that are not there and 0 that cannot be read"
    assert caplog.messages[0].startswith(f"coco: left out of split train: {counts}; listed in ")
    listed = Path(caplog.messages[0].rpartition(" ")[2])
    assert listed.read_text() == f"no image {gone}, in a folder or in a tar shard\n"


def test_an_image_that_cannot_be_read_stops_when_it_is_read_or_is_left_out_from_the_start(root, caplog):
    published(root)
    bad = put(root / "val2014" / coco_name(2, "val2014"), jpeg(size=(64, 64))[:400])
    dataset = opened(root)
    with pytest.raises(ValueError) as error:
        dataset[2].image()
    assert str(error.value).startswith(f"{bad}: found no readable image (")
    assert str(error.value).endswith(HOW)
    with caplog.at_level(logging.WARNING):
        first, second = summary(opened(root, on_error="skip")), summary(opened(root, on_error="skip"))
    assert first == second == [("1", "train 1 a"), ("1", "b "), ("5", "train 5 a"), ("5", "b ")]
    assert "1 that cannot be read" in caplog.messages[0]
    put(bad, b"no image")
    with pytest.raises(ValueError) as error:
        opened(root)[2]
    assert str(error.value).startswith(f"{bad}: found no PNG or JPEG image (it begins with b'no image')")


def test_an_image_that_cannot_be_read_harms_no_group_that_borrows_its_caption(root):
    published(root)
    put(root / "val2014" / coco_name(2, "val2014"), b"no image")
    dataset = opened(root)
    pairs = PretrainingPairs(dataset, open_tokenizer(), {}, pixel_input=PixelInput(16, None, 4), texts=Texts(2, 4))
    good = [at for at, group in enumerate(pairs.groups.tolist()) if dataset.image_id(group[0]) != "2"]
    examples = [example for at in good for example in pairs.examples(Place(0, at))]
    assert {example.sample.image_id for example in examples} == {"1", "5"}
    assert "restval 2 a" in {example.sample.caption for example in examples}
    assert pairs[[Place(0, at) for at in good]].inputs.pixels.shape[0] == 2
    with pytest.raises(ValueError) as error:
        pairs.examples(Place(0, next(at for at in range(3) if at not in good)))
    assert "found no PNG or JPEG image" in str(error.value)


def test_workers_read_shards_and_change_no_number(root):
    captions = {number: [f"a dog {number}", "two cats"] for number in range(8)}
    put_captions(root, "train2014", captions, with_images=False)
    images = {coco_name(number, "train2014"): jpeg((30 * number, 200, 90), (20 + number, 30)) for number in captions}
    put_tar(root / "000000.tar", images | {coco_name(3, "train2014"): b"no image"})
    dataset = opened(root, "all", on_error="skip")
    assert len(dataset) == 14

    def batches(num_workers):
        masking = {"mlm": TextMasking(0.3)}
        tokenizer, pixels = open_tokenizer(), PixelInput(16, None, 4)
        data = PretrainingData(dataset, dataset, tokenizer, masking, {}, 4, num_workers, pixel_input=pixels)
        return [batch.inputs for batch in data.train_dataloader()]

    for alone, shared in zip(batches(0), batches(2), strict=True):
        assert torch.equal(alone.input_ids, shared.input_ids)
        assert torch.equal(alone.pixels, shared.pixels)


@pytest.mark.parametrize("rule", ["stop", "skip"])
def test_what_is_not_one_image_s_fault_stops_either_way(root, rule):
    published(root, with_images=False)
    whole = put_tar(root / "0.tar", {coco_name(number, "train2014"): jpeg() for number in (1, 5)})
    content = whole.read_bytes()
    whole.write_bytes(content[:2000])
    with pytest.raises(ValueError) as error:
        opened(root, on_error=rule)
    assert str(error.value).startswith(f"{whole}: byte 1024: found a member of {len(jpeg())} bytes, expected at most")
    whole.write_bytes(content)
    put(root / "1.tar", content)
    with pytest.raises(ValueError) as error:
        opened(root, on_error=rule)
    twice = f"found {coco_name(1, 'train2014')[:-4]}, which {whole} has; expected each image once"
    assert str(error.value) == f"{root / '1.tar'}: {twice}"


def test_nothing_left_is_an_error(root):
    published(root)
    for file in (root / "val2014").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(ValueError) as error:
        opened(root, "val", on_error="skip")
    assert str(error.value) == (
        f"dataset coco: split val of {root} holds no sample; images on record: train 3, val 1, test 1"
    )


def test_an_unknown_rule_is_refused(root):
    with pytest.raises(ValueError) as error:
        opened(published(root), on_error="ignore")
    assert str(error.value) == "dataset coco: found on_error='ignore', expected stop or skip"


PLAIN = "expected a plain name"
KARPATHY_BAD = [
    ({"cocoid": "3"}, "field cocoid: found '3', expected a whole number of at least 0"),
    ({"cocoid": 1}, "found image 1 again, expected each image once"),
    ({"split": "dev"}, "field split: found 'dev', expected 'train' or 'restval' or 'val' or 'test'"),
    ({"filepath": ".."}, f"field filepath: found '..', {PLAIN}"),
    ({"filename": "../a.jpg"}, f"field filename: found '../a.jpg', {PLAIN}, without / \\ or control characters"),
    ({"sentences": "A."}, "field sentences: found 'A.', expected a list of objects"),
    ({"sentences": [{"raw": " \n", "sentid": 1}]}, "sentences[0]: found the caption ' \\n', expected words"),
    ({"sentences": [{"sentid": 1}]}, "sentences[0]: field raw is missing; found sentid"),
    ({"sentences": [{"raw": "A.", "sentid": True}]}, None),
]


@pytest.mark.parametrize(("change", "message"), KARPATHY_BAD, ids=range(len(KARPATHY_BAD)))
def test_a_bad_record_is_named_or_left_out(root, change, message):
    records = [karpathy_record(1, "train", ["A."]), karpathy_record(2, "train", ["B."]) | change]
    put(root / "dataset_coco.json", {"images": records, "dataset": "coco"})
    put_images(root, [f"train2014/{coco_name(number, 'train2014')}" for number in (1, 2)])
    with pytest.raises(ValueError) as error:
        opened(root)
    if message:
        assert str(error.value) == f"{root / 'dataset_coco.json'}, images[1]{_joined(message)}{HOW}"
    assert summary(opened(root, on_error="skip")) == [("1", "A.")]


def _joined(message: str) -> str:
    return f", {message}" if message.startswith("sentences[") else f": {message}"


def test_bad_official_records_are_named(root):
    put_captions(root, "train2014", CAPTIONS)
    path = root / "annotations" / "captions_train2014.json"
    document = json.loads(path.read_text())
    document["annotations"][1] |= {"image_id": 77}
    put(path, document)
    with pytest.raises(ValueError) as error:
        opened(root, "all")
    assert str(error.value) == (
        f"{path}, annotations[1]: found a caption of image 77, which is none of the images{HOW}"
    )
    del document["images"]
    put(path, document)
    with pytest.raises(ValueError) as error:
        opened(root, "all")
    assert str(error.value) == f"{path}: found 'annotations', 'info', 'licenses', expected 'images' as well"


def test_annotations_may_stand_before_images(root):
    put_captions(root, "train2014", CAPTIONS)
    before = summary(opened(root, "all"))
    path = root / "annotations" / "captions_train2014.json"
    put(path, dict(reversed(json.loads(path.read_text()).items())))
    assert summary(opened(root, "all")) == before


# The real samples: 1,000 images of val2017, one record of Karpathy's; photographs are drawn here.


@pytest.fixture
def real(shared, root) -> Path:
    sample = shared / "data" / "coco_captions"
    if not sample.is_dir():
        pytest.skip(f"the COCO sample is not at {sample}; put it there to run this test")
    root.mkdir()
    for name in ("annotations", "karpathy"):
        (root / name).symlink_to(sample / name)
    return root


def test_real_official_captions(real):
    document = json.loads((real / "annotations" / "captions_val2017.json").read_text("utf-8"))
    (real / "val2017").mkdir()
    one = put(real / "one.jpg", jpeg())
    for image in document["images"]:
        (real / "val2017" / image["file_name"]).symlink_to(one)
    parts = [opened(real, split, splits="2017") for split in ("train", "val", "test")]
    assert sum(map(len, parts)) == 5_005
    keys = [{part.image_key(index) for index in range(len(part))} for part in parts]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 1_000
    texts = {str(entry["id"]): entry["caption"] for entry in document["annotations"]}
    whole = opened(real, "all", splits="2017")
    assert {sample.sample_id: sample.caption for sample in whole} == texts


def test_the_real_record_of_karpathy(real):
    Image.new("RGB", (64, 48)).save(put(real / "val2014" / "COCO_val2014_000000391895.jpg", b""))
    dataset = opened(real, "test")
    assert [dataset[index].sample_id for index in range(5)] == ["770337", "771687", "772707", "776154", "781998"]
    assert dataset.caption(0) == "A man with a red helmet on a small moped on a dirt road. "
