from dataclasses import replace

import torch

from tests.models.examples import random_batch, small_encoder
from vlp.configs import read_option


@torch.no_grad()
def test_boxes_are_not_read():
    embeddings, batch = small_encoder("visualbert").embeddings, random_batch()
    moved = replace(batch, boxes=batch.boxes.flip(1))
    assert torch.equal(embeddings(batch).vision, embeddings(moved).vision)


@torch.no_grad()
def test_regions_are_of_visual_segment_zero_unless_the_batch_says_otherwise():
    assert read_option("model", "visualbert")["embeddings"]["visual_type"] == 0
    embeddings, batch = small_encoder("visualbert").embeddings, random_batch()
    kinds = torch.zeros_like(batch.region_mask, dtype=torch.long)
    zeros, ones = replace(batch, visual_types=kinds), replace(batch, visual_types=kinds + 1)
    assert torch.equal(embeddings(batch).vision, embeddings(zeros).vision)
    assert not torch.allclose(embeddings(batch).vision, embeddings(ones).vision)


@torch.no_grad()
def test_the_positions_of_aligned_words_are_averaged():
    embeddings, batch = small_encoder("visualbert").embeddings, random_batch()
    alignment = torch.full((3, 6, 3), -1)
    alignment[0, 0] = torch.tensor([2, 5, -1])
    shifted = embeddings(replace(batch, alignment=alignment)).vision
    plain = embeddings(batch).vision
    assert torch.equal(shifted[1:], plain[1:])
    mean = (embeddings.text.positions.weight[2] + embeddings.text.positions.weight[5]) / 2
    embeddings.visual_positions.weight[0] += mean
    torch.testing.assert_close(shifted[0, 0], embeddings(batch).vision[0, 0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_hidden_feature_is_zero():
    embeddings, batch = small_encoder("visualbert").embeddings, random_batch()
    hidden = torch.zeros_like(batch.region_mask)
    hidden[0, 1] = True
    zeroed = replace(batch, features=batch.features * ~hidden[..., None])
    assert torch.equal(embeddings(replace(batch, masked_regions=hidden)).vision, embeddings(zeroed).vision)
