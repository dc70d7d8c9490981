"""COCO and Visual Genome as one: no photograph of COCO's evaluation is trained on, none stands in two splits."""

import pytest

from tests.data.photographs import karpathy_record, put_genome, put_karpathy
from vlp.data import open_dataset
from vlp.data.dataset import hashed_split

SPLITS = {1: "train", 2: "restval", 3: "val", 4: "test"}
OF_COCO = {101: 1, 102: 2, 103: 3, 104: 4, 105: 99}
"""What images of Visual Genome are in COCO; 99 is in none of its files."""

OTHERS = range(106, 150)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    records = [karpathy_record(number, split, [f"{split} {n}" for n in range(2)]) for number, split in SPLITS.items()]
    put_karpathy(tmp_path / "both" / "coco", records)
    phrases = {number: [f"part of {number}", "more"] for number in (*OF_COCO, *OTHERS)}
    put_genome(tmp_path / "both" / "visual_genome", phrases, OF_COCO)
    return tmp_path / "both"


def opened(root, split):
    return open_dataset("coco_vg", root=root, split=split)


def images(dataset):
    return {sample.image_id for sample in dataset}


def hashed(split):
    return {f"vg-{number}" for number in (105, *OTHERS) if hashed_split(str(number)) == split}


def test_what_is_trained_on_is_not_evaluated_on(root):
    assert images(opened(root, "train")) == {"coco-1", "coco-2", "vg-101", "vg-102"} | hashed("train")
    assert images(opened(root, "val")) == {"coco-3"} | hashed("val")
    assert images(opened(root, "test")) == {"coco-4"} | hashed("test")


def test_all_is_every_sample(root):
    whole = opened(root, "all")
    assert len(whole) == 2 * (len(SPLITS) + len(OF_COCO) + len(OTHERS))
    assert len({sample.sample_id for sample in whole}) == len(whole)


def test_a_photograph_has_one_key_and_stands_in_one_split(root):
    parts = [opened(root, split) for split in ("train", "val", "test")]
    keys = [{part.image_key(index) for index in range(len(part))} for part in parts]
    assert sum(map(len, keys)) == len(set.union(*keys))
    whole = opened(root, "all")
    shared = {whole.image_id(index): whole.image_key(index) for index in range(len(whole))}
    assert (shared["vg-101"], shared["coco-1"], shared["vg-106"]) == ("coco-1", "coco-1", "vg-106")


@pytest.mark.parametrize("split", ["train", "all"])
def test_the_numbers_of_images_tell_apart_what_their_ids_do(root, split):
    dataset = opened(root, split)
    numbers = dataset.images().tolist()
    ids = [dataset.image_id(index) for index in range(len(dataset))]
    assert len(numbers) == len(ids)
    assert len(set(zip(numbers, ids, strict=True))) == len(set(numbers)) == len(set(ids))


def test_samples_are_those_of_the_two(root):
    both, coco = opened(root, "train"), open_dataset("coco", root=root / "coco", split="train")
    for index in (0, 3):
        sample, own = both[index], coco[index]
        assert (sample.image_id, sample.sample_id) == (f"coco-{own.image_id}", f"coco-{own.sample_id}")
        assert (sample.caption, both.caption(index), sample.width) == (own.caption, own.caption, own.width)
    last = both[len(both) - 1]
    assert (last.caption, last.image_id) == ("more", both.image_id(len(both) - 1))
    assert last.image().size == (last.width, last.height)
    assert both.regions(0) is None
    for index in (0, len(both) - 1):
        whole, text = both[index], both.without_image(index)
        assert (text.image_id, text.sample_id, text.caption) == (whole.image_id, whole.sample_id, whole.caption)
        assert (text.width, text.height, text.image()) == (0, 0, None)
    with pytest.raises(IndexError):
        both[len(both)]


def test_karpathys_splits_are_needed(root):
    (root / "coco" / "dataset_coco.json").unlink()
    with pytest.raises(ValueError) as error:
        opened(root, "train")
    assert str(error.value).startswith(f"dataset coco: {root / 'coco'} holds no captions, expected karpathy")
    with pytest.raises(ValueError) as error:
        opened(root / "coco", "train")
    assert str(error.value) == f"dataset coco_vg: {root / 'coco'} holds no folder coco; give dataset.root=DIR"
