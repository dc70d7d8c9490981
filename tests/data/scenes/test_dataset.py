import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from vlp.data import Regions, open_dataset
from vlp.data.featuriser import CropFeaturiser
from vlp.data.scenes.levels import DEMO, LEVELS
from vlp.data.scenes.lexicon import WORDS

ALL = range(60)


@pytest.fixture(scope="module")
def scenes():
    return open_dataset("scenes", split="val", regions="both")


def same_regions(a: Regions, b: Regions) -> bool:
    names = ("boxes", "features", "confidence", "class_probs", "gold", "class_ids")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def same_samples(a, b) -> bool:
    pixels = [np.asarray(sample.image()) for sample in (a, b)]
    texts = [
        (s.image_id, s.caption, s.parse, [(r.subject, r.predicate, r.object) for r in s.relations]) for s in (a, b)
    ]
    return texts[0] == texts[1] and same_regions(a.regions, b.regions) and np.array_equal(*pixels)


def test_a_sample_is_a_function_of_seed_split_and_index(scenes):
    backwards = open_dataset("scenes", split="val", regions="both", cache=0)
    others = {index: backwards[index] for index in reversed(ALL)}
    assert all(same_samples(scenes[index], others[index]) for index in ALL)


def test_another_seed_or_split_is_another_world(scenes):
    keys = [{"seed": 1, "split": "val"}, {"seed": 0, "split": "train"}, {"seed": 0, "split": "test"}]
    worlds = [scenes, *(open_dataset("scenes", **key) for key in keys)]
    for index in range(10):
        pixels = {np.asarray(world[index].image()).tobytes() for world in worlds}
        assert len(pixels) == len(worlds)


def test_no_image_stands_in_two_splits():
    seen = [
        {np.asarray(dataset[index].image()).tobytes() for index in range(100)}
        for dataset in (open_dataset("scenes", split=split, image_size=64) for split in ("train", "val", "test"))
    ]
    assert [len(images) for images in seen] == [100, 100, 100]
    assert len(set.union(*seen)) == 300


def test_all_is_the_three_splits_one_after_the_other():
    dataset = open_dataset("scenes", split="all")
    assert len(dataset) == 16_384 + 1_024 + 1_024
    assert [len(open_dataset("scenes", split=split)) for split in ("train", "val", "test")] == [16_384, 1_024, 1_024]
    for index, split in ((5, "train"), (16_384 + 5, "val"), (16_384 + 1_024 + 5, "test")):
        assert same_samples(dataset[index], open_dataset("scenes", split=split)[5])


def test_size_is_unlimited_and_does_not_change_the_samples(scenes):
    larger = open_dataset("scenes", split="val", regions="both", size=10**9)
    assert len(larger) == 10**9
    assert same_samples(larger[7], scenes[7])
    assert larger[10**9 - 1].image_id == larger[-1].image_id


def test_indexing_beyond_the_end_is_an_index_error():
    dataset = open_dataset("scenes", size=3)
    assert len(list(dataset)) == 3
    with pytest.raises(IndexError) as error:
        dataset[3]
    assert str(error.value) == "dataset scenes has 3 samples in split train, no sample 3"


def test_features_are_recomputed_from_pixels_and_boxes_alone(scenes):
    featuriser = CropFeaturiser(64)
    for index in ALL:
        sample = scenes[index]
        again = featuriser(np.asarray(sample.image()), sample.regions.boxes.numpy())
        assert torch.equal(again, sample.regions.features)


def test_equal_pixels_with_other_annotations_have_equal_features(scenes, monkeypatch):
    names = [(noun.name, noun.type) for noun in DEMO.nouns]
    nouns = [replace(noun, name=n, type=t) for noun, (n, t) in zip(DEMO.nouns, names[1:] + names[:1], strict=True)]
    monkeypatch.setitem(LEVELS, "renamed", replace(DEMO, name="renamed", nouns=tuple(nouns)))
    renamed = open_dataset("scenes", split="val", regions="both", level="renamed")
    for index in ALL:
        here, there = scenes[index], renamed[index]
        assert np.array_equal(np.asarray(here.image()), np.asarray(there.image()))
        assert here.caption != there.caption
        assert torch.equal(here.regions.features, there.regions.features)


def test_the_caption_does_not_reach_the_regions(scenes):
    described = open_dataset("scenes", split="val", regions="both", text="region_description")
    assert all(same_regions(scenes.regions(index), described.regions(index)) for index in ALL)
    assert any(scenes.caption(index) != described.caption(index) for index in ALL)


def test_short_ways_agree_with_the_sample(scenes):
    fresh = open_dataset("scenes", split="val", regions="both", cache=2)
    for index in range(5):
        sample = scenes[index]
        assert fresh.caption(index) == sample.caption
        assert fresh.image_key(index) == sample.image_id
        assert same_regions(fresh.regions(index), sample.regions)


def linear_probe(features, labels, train: int) -> float:
    features = (features - features[:train].mean(0)) / (features[:train].std(0) + 1e-6)
    return (
        LogisticRegression(max_iter=400).fit(features[:train], labels[:train]).score(features[train:], labels[train:])
    )


@pytest.fixture(scope="module")
def gold_and_jittered():
    """Features of gold boxes and of fresh jitters of them, with noun and colour."""
    dataset, featuriser = open_dataset("scenes", regions="gold"), CropFeaturiser(64)
    rng, rows = np.random.default_rng(0), []
    for index in range(800):
        sample = dataset[index]
        boxes = sample.regions.boxes.numpy()
        jitter = np.tile(boxes[:, 2:] - boxes[:, :2], 2) * rng.normal(0, 0.05, boxes.shape)
        jittered = featuriser(np.asarray(sample.image()), np.clip(boxes + jitter, 0, 1)).numpy()
        for thing, gold, moved in zip(sample.objects, sample.regions.features.numpy(), jittered, strict=True):
            rows.append((gold, moved, thing.names[0], thing.attributes[0]))
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("label", [2, 3], ids=["noun", "colour"])
def test_noun_and_colour_are_linearly_decodable(gold_and_jittered, label):
    gold, jittered, labels = gold_and_jittered[0], gold_and_jittered[1], gold_and_jittered[label]
    assert linear_probe(gold, labels, train=2900) >= 0.95
    assert linear_probe(jittered, labels, train=2900) >= 0.9


def test_class_distributions_sum_to_one_with_background_first(scenes):
    for index in ALL:
        regions = scenes[index].regions
        assert regions.class_probs.shape == (len(regions), 49)
        torch.testing.assert_close(regions.class_probs.sum(1), torch.ones(len(regions)))
        assert torch.equal(regions.class_ids, regions.class_probs[:, 1:].argmax(1))
    assert scenes.num_classes == 49
    assert scenes.class_names[6 * 2 + 1] == "green dog"


def test_gold_regions_come_first_and_are_the_objects(scenes):
    for index in ALL:
        sample = scenes[index]
        count = len(sample.objects)
        assert sample.regions.gold.tolist() == [at < count for at in range(len(sample.regions))]
        assert torch.equal(sample.regions.boxes[:count], torch.stack([thing.box for thing in sample.objects]))
        assert sample.regions.confidence[:count].eq(1).all()
        assert sample.regions.confidence[count:].diff().le(0).all()


def test_detected_regions_carry_no_gold_box_and_the_dataset_says_so():
    detected, gold = open_dataset("scenes"), open_dataset("scenes", regions="gold")
    assert "gold" not in detected.annotations
    assert "gold" in gold.annotations
    assert not detected[0].regions.gold.any()
    assert gold[0].regions.gold.all()


def test_phrases_are_spans_of_the_caption_and_point_at_their_objects(scenes):
    for index in ALL:
        sample = scenes[index]
        for phrase in sample.phrases:
            thing = sample.objects[int(phrase.chain_id)]
            assert sample.caption[phrase.start : phrase.end] == phrase.text
            assert phrase.text.split()[1:] == [thing.attributes[0], thing.names[0]]
            assert torch.equal(phrase.boxes, thing.box[None])
            assert phrase.types == (next(noun.type for noun in DEMO.nouns if noun.name == thing.names[0]),)


def test_no_two_things_of_a_scene_share_noun_and_colour(scenes):
    for index in ALL:
        things = scenes[index].objects
        assert 3 <= len(things) <= 6
        assert len({(thing.names, thing.attributes) for thing in things}) == len(things)


def holds(predicate: str, a, b, a_is_later: bool) -> bool:
    """Whether a relation is true of two boxes, said in another way than the world does."""
    centre_a, centre_b = (a[:2] + a[2:]) / 2, (b[:2] + b[2:]) / 2
    right, down = (centre_b - centre_a).tolist()
    if predicate in ("in front of", "behind"):
        overlap = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).min() > 0
        return bool(overlap) and a_is_later == (predicate == "in front of")
    along = {"left of": right, "right of": -right, "above": down, "below": -down}[predicate]
    return along > 0.11 and along > max(abs(right), abs(down)) - 1e-6


def test_relations_are_true_of_the_boxes(scenes):
    seen = set()
    for index in ALL:
        sample = scenes[index]
        for relation in sample.relations:
            subject, object_ = int(relation.subject_id), int(relation.object_id)
            assert relation.subject == sample.objects[subject].names[0]
            assert torch.equal(relation.object_box, sample.objects[object_].box)
            assert holds(relation.predicate, relation.subject_box, relation.object_box, subject > object_)
            seen.add(relation.predicate)
    assert seen == {predicate.name for predicate in DEMO.predicates}


def test_a_caption_that_relates_two_things_lists_the_relation_first(scenes):
    stated = 0
    for index in ALL:
        sample = scenes[index]
        for predicate in ("left of", "right of", "in front of"):
            if predicate in sample.caption:
                stated += 1
                assert predicate in [relation.predicate for relation in sample.relations[:2]]
    assert stated > 10


def test_a_region_description_is_one_relation_and_the_others_are_known():
    described, captioned = (open_dataset("scenes", text=text) for text in ("region_description", "caption"))
    for index in ALL:
        sample = described[index]
        first, *others = [relation for relation in sample.relations if relation.is_annotated] or (None,)
        assert not others
        whole = captioned[index].relations
        assert all(relation.is_annotated for relation in whole)
        ends = [{frozenset((r.subject_id, r.object_id)) for r in relations} for relations in (sample.relations, whole)]
        assert ends[0] == ends[1]
        if first is not None:
            assert [int(phrase.chain_id) for phrase in sample.phrases] == [int(first.subject_id), int(first.object_id)]
            assert not sample.caption.endswith(".")


def test_a_parse_is_a_tree_over_the_words_of_the_caption(scenes):
    for index in ALL:
        sample = scenes[index]
        parse = sample.parse
        words = [sample.caption[start:end] for start, end in zip(parse.starts, parse.ends, strict=True)]
        assert words == sample.caption.split()
        assert parse.heads.count(-1) == 1
        assert parse.labels[parse.heads.index(-1)] == "root"
        assert parse.scheme == "stanford"
        for word in range(len(words)):
            steps = 0
            while word != -1:
                word, steps = parse.heads[word], steps + 1
                assert steps <= len(words)


def test_captions_are_short_and_made_of_listed_words(scenes):
    captions = [scenes.caption(index).split() for index in range(300)]
    assert {word for caption in captions for word in caption} <= set(WORDS)
    assert min(map(len, captions)) >= 8
    assert np.mean([len(caption) for caption in captions]) < 13


def test_an_image_follows_its_size(scenes):
    small = open_dataset("scenes", split="val", image_size=96)[0]
    assert (small.width, small.height, small.image().size, small.image().mode) == (96, 96, (96, 96), "RGB")
    assert scenes[0].image().size == (224, 224)


def test_five_captions_an_image_need_data_only(monkeypatch):
    monkeypatch.setitem(LEVELS, "five", replace(DEMO, name="five", captions_per_image=5))
    dataset = open_dataset("scenes", level="five", size=10)
    assert [dataset.image_key(index) for index in range(10)] == ["five-0-train-0"] * 5 + ["five-0-train-1"] * 5
    assert len({dataset.caption(index) for index in range(5)}) > 2
    assert same_regions(dataset.regions(0), dataset.regions(4))


def test_a_sample_travels_between_processes(scenes):
    sample = scenes[3]
    assert same_samples(sample, pickle.loads(pickle.dumps(sample)))
    assert same_samples(sample, pickle.loads(pickle.dumps(scenes))[3])


def test_the_fingerprint_says_what_made_the_features(scenes):
    assert scenes.fingerprint == CropFeaturiser(64).fingerprint
    assert scenes.fingerprint["dimensions"] == scenes.feature_width == scenes[0].regions.features.shape[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "ful"}, "dataset scenes has no level=ful; there is demo"),
        ({"text": "captions"}, "dataset scenes has no text=captions; there is caption, region_description"),
        ({"regions": "none"}, "dataset scenes has no regions=none; there is detected, gold, both"),
        ({"size": 0}, "dataset scenes needs size of at least 1, got 0"),
        ({"seed": -1}, "dataset scenes needs seed of at least 0, got -1"),
        ({"image_size": 8}, "dataset scenes needs image_size of at least 32, got 8"),
        ({"num_regions": 0}, "dataset scenes needs num_regions of at least 1, got 0"),
        ({"root": "somewhere"}, "dataset scenes is drawn and reads no files; got root=somewhere"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError) as error:
        open_dataset("scenes", **options)
    assert str(error.value) == message
