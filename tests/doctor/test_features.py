"""Right features pass by their numbers and wrong ones do not, over five seeds of everything that is drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from tests.data.worlds import HandMade
from tests.doctor.wrong_features import Change, Changed, as_they_are, as_width_and_height, rows_first, shuffled, wrong
from vlp.data import open_dataset
from vlp.data.dataset import VLDataset
from vlp.data.sample import Regions, Sample
from vlp.data.statistics import NUM_SPREAD, RegionStatistics, region_statistics, spread
from vlp.doctor.features import compared, examine_features
from vlp.doctor.findings import FAILED, NOTE, OK, Finding

SEEDS = range(5)
MISMATCH = "features do not match weights: "


def statistics(dataset: VLDataset) -> RegionStatistics:
    found = region_statistics(map(dataset.regions, spread(len(dataset), NUM_SPREAD)))
    assert found is not None
    return found


def record_of(dataset: VLDataset) -> dict[str, Any]:
    return {"region_statistics": statistics(dataset).record()}


def found_in(dataset: VLDataset, record: dict[str, Any], change: Change = as_they_are) -> Finding:
    return examine_features(record, Changed(dataset, change))


class Remembered(VLDataset):
    """The first samples of a dataset, which are drawn once."""

    def __init__(self, **options: Any) -> None:
        dataset = open_dataset("scenes", **options)
        self.samples = [dataset[index] for index in range(32)]
        self.name, self.split, self.feature_width = dataset.name, dataset.split, dataset.feature_width

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


@pytest.mark.parametrize("seed", SEEDS)
def test_features_of_the_same_extractor_pass_and_others_do_not(seed: int, monkeypatch: pytest.MonkeyPatch):
    record = record_of(Remembered(split="train", seed=seed))
    test = Remembered(split="test", seed=seed)
    others = [{"seed": seed + 1}, {"split": "val"}, {"regions": "gold"}, {"num_regions": 3}]
    for dataset in (test, *(Remembered(**{"split": "test", "seed": seed, **options}) for options in others)):
        found = found_in(dataset, record)
        assert found.state == OK, found
    for name, change in wrong(seed).items():
        found = found_in(test, record, change)
        assert (found.state, found.found[: len(MISMATCH)]) == (FAILED, MISMATCH), (name, found)
    monkeypatch.setattr("vlp.data.featuriser.SEED", seed + 1)
    found = found_in(Remembered(split="test", seed=seed), record)
    assert (found.state, found.found[: len(MISMATCH)]) == (FAILED, MISMATCH), found


@pytest.mark.parametrize("seed", SEEDS)
def test_of_narrow_features_no_wrong_ones_pass(seed: int):
    record = record_of(Remembered(split="train", seed=seed, feature_width=16))
    test = Remembered(split="test", seed=seed, feature_width=16)
    assert found_in(test, record).state == OK
    assert all(found_in(test, record, change).state != OK for change in wrong(seed).values())


@pytest.mark.parametrize("change", [rows_first, as_width_and_height])
def test_boxes_that_could_be_boxes_are_told_by_where_they_are(change: Change):
    """Tall things at the left: as (y1, y2, x1, x2), or with their sides, these are boxes too."""
    boxes = torch.rand(64, 1, 4, generator=torch.Generator().manual_seed(0)) * 0.05 + torch.tensor([0.1, 0.2, 0.4, 0.9])
    features = torch.arange(32.0) + torch.rand(64, 1, 32, generator=torch.Generator().manual_seed(1))
    regions = [Regions(*pair) for pair in zip(boxes, features, strict=True)]
    trained, found = (region_statistics(some) for some in (regions, map(change, regions)))
    assert trained is not None
    assert found is not None
    assert (compared(trained, trained).state, compared(trained, found).state) == (OK, FAILED)


PROFILE = tuple(float(i % 7) for i in range(64))
TRAINED = RegionStatistics(256, PROFILE, 1.0, (0.3, 0.3, 0.7, 0.7), (0.2, 0.2, 0.2, 0.2))


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, OK),
        ({"box_means": (0.3, 0.3, 0.7, 0.79)}, OK),
        ({"box_means": (0.3, 0.3, 0.7, 0.85)}, NOTE),
        ({"box_means": (0.3, 0.3, 0.7, 0.95)}, FAILED),
        ({"feature_means": tuple(1.7 * mean for mean in PROFILE)}, NOTE),
        ({"feature_means": tuple(3 * mean for mean in PROFILE)}, FAILED),
        (
            {"feature_means": tuple(mean + 1.3 * (i % 5 - 2) for i, mean in enumerate(PROFILE)), "box_sds": (1.0,) * 4},
            NOTE,
        ),
        ({"feature_means": PROFILE[1:] + PROFILE[:1]}, FAILED),
        ({"feature_means": PROFILE[:60]}, FAILED),
        ({"feature_means": (0.0,) * 64, "feature_sd": 0.0}, FAILED),
        ({"feature_means": (math.nan,) * 64}, FAILED),
    ],
)
def test_what_is_between_alike_and_other_is_noted(change: dict[str, Any], state: str):
    assert compared(TRAINED, replace(TRAINED, **change)).state == state


def test_columns_that_are_alike_and_few_samples_tell_nothing():
    alike = replace(TRAINED, feature_means=(0.5,) * 64)
    for trained, found in ((alike, alike), (replace(TRAINED, feature_sd=5.0), replace(TRAINED, samples=2))):
        answer = compared(trained, found)
        assert answer.state == NOTE
        assert answer.found.startswith(f"{found.samples} samples do not tell one column from another")


def test_weights_without_statistics_leave_what_is_plausible():
    found = found_in(HandMade(), {})
    expected = "dataset hand_made does not say which they are; boxes and numbers are plausible"
    assert (found.state, found.found) == (NOTE, expected)
    scenes = open_dataset("scenes", split="test", size=64)
    assert found_in(scenes, {}, partial(shuffled, 0)).state == NOTE
    boxes = found_in(scenes, {}, as_width_and_height)
    assert boxes.state == FAILED
    assert boxes.found.startswith(MISMATCH + "box ")
    assert boxes.found.endswith("it is inverted, or its last two numbers are width and height")


def test_a_fingerprint_alone_is_believed_and_numbers_are_believed_before_it():
    scenes = open_dataset("scenes", split="test", size=64)
    named = {"features": dict(scenes.fingerprint)}
    assert examine_features(named, scenes) == Finding(
        OK, "features", "those of the dataset are what the weights were trained on, by name"
    )
    liar = Changed(scenes, partial(shuffled, 0))
    liar.fingerprint = scenes.fingerprint
    assert examine_features({**named, **record_of(scenes)}, liar).state == FAILED


def test_damaged_statistics_are_blamed_on_the_record():
    whole = record_of(HandMade())["region_statistics"]
    for written in ({}, {"samples": 3}, "abc", {**whole, "box_means": whole["box_means"][:3]}):
        found = found_in(HandMade(), {"region_statistics": written})
        told = "the record of the weights is damaged: key region_statistics: no statistics of regions ("
        assert (found.state, found.found[: len(told)]) == (FAILED, told)
