import math

import pytest
import torch

from tests.data.worlds import HandMade
from vlp.data.dataset import VLDataset
from vlp.data.pixels import PixelInput
from vlp.data.sample import Regions, Sample
from vlp.data.statistics import (
    RegionStatistics,
    mean_colour,
    mean_feature,
    region_statistics,
    spread,
    with_mean_colour,
    with_mean_feature,
)


def test_the_mean_feature_weighs_every_region_alike():
    # samples 0, 1, 2 have 1, 2, 3 regions of value 0, 1, 2
    assert mean_feature(HandMade(6), num_samples=3).tolist() == pytest.approx([(0 + 2 * 1 + 3 * 2) / 6] * 4)


def test_only_real_regions_are_replaced():
    features = torch.arange(8.0).view(1, 2, 4)
    replaced = with_mean_feature(features, torch.tensor([[True, False]]), torch.full((4,), 9.0))
    assert replaced.tolist() == [[[9.0] * 4, [4.0, 5.0, 6.0, 7.0]]]


def test_data_without_regions_have_no_mean_feature():
    class TextOnly(VLDataset):
        name = "text_only"

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return Sample(str(index), "a dog", 1, 1)

    with pytest.raises(ValueError) as error:
        mean_feature(TextOnly())
    assert str(error.value) == "text_only split=train: no region in the first 256 samples"


def test_statistics_are_those_of_all_regions_together():
    one = Regions(torch.tensor([[0.0, 0.0, 0.5, 1.0]]), torch.tensor([[1.0, 0.0]]))
    two = Regions(torch.tensor([[0.25, 0.0, 1.0, 1.0], [0.5, 0.0, 0.75, 1.0]]), torch.tensor([[4.0, 0.0], [4.0, 3.0]]))
    found = region_statistics([one, None, two])
    assert found is not None
    assert (found.samples, found.feature_means) == (2, (3.0, 1.0))
    assert found.feature_sd == pytest.approx(math.sqrt(2.0), abs=1e-5)  # variances 2 and 2
    assert found.box_means == (0.25, 0.0, 0.75, 1.0)
    assert found.box_sds == pytest.approx((math.sqrt(1 / 24), 0.0, math.sqrt(1 / 24), 0.0), abs=1e-6)
    assert RegionStatistics.from_record(found.record(), "here") == found


@pytest.mark.parametrize("features", [[], [[math.nan, 0.0]], [[math.inf, 0.0]]])
def test_no_region_and_numbers_that_are_not_finite_give_none(features: list[list[float]]):
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])[: len(features)]
    assert region_statistics([None, Regions(boxes, torch.tensor(features).reshape(-1, 2))]) is None


DAMAGED = (
    {"samples": "many"},
    {"samples": 1e999},
    {"samples": 0},
    {"samples": True},
    {"box_means": 3},
    {"box_means": "1234"},
    {"box_means": [0.1, 0.1, 0.9]},
    {"box_sds": [0.1, 0.1, 0.1, -0.1]},
    {"feature_means": [None]},
    {"feature_means": "abc"},
    {"feature_means": []},
    {"feature_means": [math.inf]},
    {"feature_means": [10**400]},
    {"feature_sd": math.nan},
    {"feature_sd": -1.0},
)


@pytest.mark.parametrize("change", DAMAGED, ids=str)
def test_a_record_of_something_else_is_refused_by_name(change: dict[str, object]):
    found = region_statistics(sample.regions for sample in HandMade())
    assert found is not None
    with pytest.raises(ValueError) as error:
        RegionStatistics.from_record({**found.record(), **change}, "a.ckpt, key x")
    assert str(error.value).startswith("a.ckpt, key x: no statistics of regions (")


def test_samples_are_spread_over_the_whole_dataset():
    assert [HandMade(9)[place].image_id for place in spread(9, 4)] == ["image0", "image2", "image4", "image6"]
    assert len(list(spread(3, 4))) == 3


def test_the_mean_colour_weighs_every_pixel_alike():
    pixel_input = PixelInput(10, 40, 5, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 0.5))
    # images 0 and 1 have red 0 and 40, green 80, blue 255 and 245
    expected = [20 / 255, 80 / 255, 250 / 255 / 0.5]
    assert mean_colour(HandMade(6), pixel_input, num_samples=2).tolist() == pytest.approx(expected)


def test_only_real_pixels_are_replaced():
    mask = torch.tensor([[[True, False]]])
    replaced = with_mean_colour(torch.zeros(1, 3, 1, 2), mask, torch.tensor([1.0, 2.0, 3.0]))
    assert replaced.tolist() == [[[[1.0, 0.0]], [[2.0, 0.0]], [[3.0, 0.0]]]]
