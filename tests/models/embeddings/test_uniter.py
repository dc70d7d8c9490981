from dataclasses import replace

import pytest
import torch

from tests.models.examples import random_batch, small_encoder
from vlp.models.embeddings.regions import corners_size_area


def test_a_location_is_corners_size_and_area():
    box = torch.tensor([0.1, 0.2, 0.5, 0.4])
    torch.testing.assert_close(corners_size_area(box), torch.tensor([0.1, 0.2, 0.5, 0.4, 0.4, 0.2, 0.08]))


@torch.no_grad()
def test_the_mask_vector_stands_for_a_hidden_feature_and_its_place_stays():
    embeddings, batch = small_encoder("uniter").embeddings, random_batch()
    hidden = torch.zeros_like(batch.region_mask)
    hidden[0, 2] = True
    vector = replace(batch, features=batch.features.clone())
    vector.features[0, 2] = embeddings.masked_feature.weight[0]
    masked = embeddings(replace(batch, masked_regions=hidden)).vision
    torch.testing.assert_close(masked, embeddings(vector).vision, rtol=0, atol=1e-6)
    moved = replace(batch, boxes=batch.boxes.flip(1), masked_regions=hidden)
    assert not torch.allclose(embeddings(moved).vision[0, 2], masked[0, 2])


@torch.no_grad()
def test_regions_of_one_image_are_of_segment_one_of_the_text_s_table():
    embeddings, batch = small_encoder("uniter").embeddings, random_batch()
    zeros = replace(batch, visual_types=torch.zeros_like(batch.region_mask, dtype=torch.long))
    before = embeddings(batch).vision
    assert torch.equal(before, embeddings(zeros).vision)
    embeddings.text.types.weight[1] += torch.arange(32.0)
    assert not torch.allclose(before, embeddings(batch).vision)


@pytest.mark.parametrize("name", ["uniter", "visualbert", "lxmert"])
def test_hiding_nothing_changes_nothing(name):
    embeddings, batch = small_encoder(name).embeddings, random_batch()
    nothing = replace(batch, masked_regions=torch.zeros_like(batch.region_mask))
    assert torch.equal(embeddings(batch).vision, embeddings(nothing).vision)
