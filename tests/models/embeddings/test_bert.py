import torch
from torch.nn import functional

from tests.models.examples import random_batch, small_encoder


@torch.no_grad()
def test_a_word_is_the_norm_of_word_position_and_segment():
    embeddings, batch = small_encoder("bert").embeddings, random_batch()
    embeddings.text.norm.reset_parameters()
    found = embeddings(batch).text
    text = embeddings.text
    summed = text.words.weight[batch.input_ids[1, 2]] + text.positions.weight[2] + text.types.weight[0]
    torch.testing.assert_close(found[1, 2], functional.layer_norm(summed, (32,), eps=1e-12), rtol=0, atol=1e-5)


def test_the_control_has_no_visual_stream():
    encoder, batch = small_encoder("bert"), random_batch()
    embedded = encoder.embeddings(batch)
    assert (embedded.vision, embedded.vision_mask) == (None, None)
    assert {site.stage for site in encoder.sites} == {"text"}
