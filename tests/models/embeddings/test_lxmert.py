import torch
from torch.nn import functional

from tests.models.examples import random_batch, small_encoder


@torch.no_grad()
def test_a_region_is_the_mean_of_two_norms_without_another():
    embeddings, batch = small_encoder("lxmert").embeddings, random_batch()
    for norm in (embeddings.features_norm, embeddings.location_norm):
        norm.reset_parameters()
    found = embeddings(batch).vision
    look = functional.layer_norm(embeddings.features(batch.features), (32,), eps=1e-12)
    place = functional.layer_norm(embeddings.location(batch.boxes), (32,), eps=1e-12)
    torch.testing.assert_close(found, (look + place) / 2, rtol=0, atol=1e-5)


def test_row_zero_of_each_text_table_keeps_its_random_value():
    encoder, batch = small_encoder("lxmert"), random_batch()
    encoder(batch).text.square().sum().backward()
    text = encoder.embeddings.text
    for table in (text.words, text.positions, text.types):
        assert table.weight.grad[0].count_nonzero() == 0
        assert table.weight[0].count_nonzero() == 32
    assert text.positions.weight.grad[1].count_nonzero() > 0
