import pytest
import torch

from tests.data.worlds import HandMade
from vlp.data.dataset import VLDataset
from vlp.data.sample import Sample
from vlp.data.statistics import mean_feature, with_mean_feature


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
