from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

from tests.models.examples import small_encoder
from tests.objectives.test_mfr import batch_of, encoder_of_words
from vlp.data.masking import Unchanged
from vlp.data.pairs import PretrainingBatch
from vlp.data.sample import Batch
from vlp.metrics.transport import cosine_cost
from vlp.models.encoder import Encoding
from vlp.objectives.vla import VisionLanguageAlignment, content


def told(lengths=(5, 7, 4, 6), cells=4, width=32, seed=0):
    """Last states of four pairs, the first two of which match, beside the batch they are of."""
    generator = torch.Generator().manual_seed(seed)
    encoder = small_encoder("swin_vlp")
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.zeros(mask.shape, dtype=torch.long)
    inputs = Batch(ids, mask, ids, pixels=torch.zeros(4, 3, 16, 16), pixel_mask=torch.ones(4, 16, 16, dtype=torch.bool))
    text = torch.randn(*mask.shape, width, generator=generator, requires_grad=True)
    vision = torch.randn(4, cells, width, generator=generator, requires_grad=True)
    batch = PretrainingBatch(inputs, torch.tensor([True, True, False, False]), torch.full_like(ids, -100))
    return encoder, Encoding(text, vision, None), batch


def alignment(encoder, **options):
    return VisionLanguageAlignment(encoder, Unchanged(), **options)


def test_words_are_all_pieces_but_the_first_and_the_last_real_one():
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    assert content(mask).tolist() == [[False, True, True, True, False], [False, True, False, False, False]]


def test_it_is_the_exact_distance_of_matched_minus_that_of_mismatched_over_all_pairs():
    encoder, encoding, batch = told()
    exact = []
    for row, length in enumerate((5, 7, 4, 6)):
        cost = cosine_cost(encoding.text[row : row + 1, 1 : length - 1], encoding.vision[row : row + 1])[0]
        cost = cost.detach().double().numpy()
        exact.append(ot.emd2(ot.unif(len(cost)), ot.unif(4), np.ascontiguousarray(cost)))
    objective = alignment(encoder)
    np.testing.assert_allclose(objective.distances(encoding, batch, encoder).detach(), exact, rtol=0.01)
    expected = (exact[0] + exact[1] - exact[2] - exact[3]) / 4
    assert objective(encoding, batch, encoder).item() == pytest.approx(expected, abs=0.005)


def test_it_may_be_negative():
    encoder, encoding, batch = told()
    words = encoding.text[:2, 1:2]
    near = torch.cat([words.expand(-1, 7, -1), -encoding.vision[2:, :1].expand(-1, 7, -1)])
    vision = torch.cat([words.expand(-1, 4, -1), encoding.vision[2:, :1].expand(-1, 4, -1)])
    loss = alignment(encoder)(Encoding(near, vision, None), batch, encoder)
    assert loss.item() == pytest.approx((0 + 0 - 2 - 2) / 4, abs=1e-5)


def test_padding_and_the_ends_of_a_caption_change_nothing():
    encoder, encoding, batch = told()
    words = content(batch.inputs.text_mask)
    rubbish = replace(encoding, text=encoding.text.where(words[..., None], 1e4))
    longer = torch.nn.functional.pad(batch.inputs.text_mask, (0, 3))
    wider = replace(batch, inputs=replace(batch.inputs, text_mask=longer))
    padded = replace(encoding, text=torch.nn.functional.pad(rubbish.text, (0, 0, 0, 3), value=-7.0))
    objective = alignment(encoder)
    expected = objective.distances(encoding, batch, encoder)
    torch.testing.assert_close(objective.distances(rubbish, batch, encoder), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(objective.distances(padded, wider, encoder), expected, rtol=1e-6, atol=0)


def test_gradient_brings_matched_pairs_together_and_others_apart():
    encoder, encoding, batch = told()
    objective = alignment(encoder)
    before = objective.distances(encoding, batch, encoder)
    objective(encoding, batch, encoder).backward()
    states = [encoding.text - 50 * encoding.text.grad, encoding.vision - 50 * encoding.vision.grad]
    after = objective.distances(Encoding(*states, None), batch, encoder)
    assert (after < before).tolist() == [True, True, False, False]


def test_held_out_it_is_the_loss_beside_both_mean_distances():
    encoder = encoder_of_words()
    objective = alignment(encoder)
    batch = batch_of(encoder, objective)
    encoding = encoder(batch.inputs)
    objective.update(encoding, batch, encoder)
    values = {name: value.item() for name, value in objective.compute().items()}
    distances = objective.distances(encoding, batch, encoder)
    assert values == {
        "": pytest.approx(objective(encoding, batch, encoder).item(), abs=1e-6),
        "matched": pytest.approx(distances[batch.is_matched].mean().item(), rel=1e-5),
        "mismatched": pytest.approx(distances[~batch.is_matched].mean().item(), rel=1e-5),
    }


def test_a_global_row_takes_no_part():
    """ViLT's class token is among the visual tokens and not among `Encoding.vision`."""
    encoder = encoder_of_words("vilt")
    objective = alignment(encoder)
    batch = batch_of(encoder, objective)
    encoding = encoder(batch.inputs)
    mask = encoder.embeddings.vision_mask(batch.inputs)[:, 1:]
    assert mask.shape == encoding.vision.shape[:2]
    assert objective.distances(encoding, batch, encoder).isfinite().all()


def test_streams_of_different_widths_are_refused_by_name():
    encoder = small_encoder("vilbert", vision_width=48, vision_heads=3)
    with pytest.raises(ValueError) as error:
        alignment(encoder)
    assert str(error.value) == (
        "vla compares words and visual tokens; model vilbert has no image, or states of 32 and 48"
    )
