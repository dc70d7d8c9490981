"""Every state and map of the models that VOLTA trained, against the gated stack it describes them by."""

import pytest
import torch

from tests.models.examples import random_batch, small_encoder
from tests.models.gated_stack import activations, sublayers
from vlp.models import build
from vlp.observe import record

MODELS = ("uniter_ctrl", "visualbert_ctrl", "vl_bert_ctrl", "vl_bert", "lxmert_ctrl", "vilbert_ctrl", "vilbert")
CLOSE = {"rtol": 1e-5, "atol": 2e-5}


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_every_state_and_map_is_the_gated_stack_s(name):
    encoder, batch = small_encoder(name), random_batch()
    embedded, trace = encoder.embeddings(batch), record(encoder, batch)
    streams = {"t": embedded.text, "v": embedded.vision}
    found = {**trace.hidden, **trace.attention}
    expected = activations(encoder, streams, {"t": embedded.text_mask, "v": embedded.vision_mask})
    assert set(found) == set(expected)
    for site, value in expected.items():
        torch.testing.assert_close(found[site], value, **CLOSE, msg=lambda why, site=site: f"{site}: {why}")


@pytest.mark.parametrize(
    ("name", "count", "crossing"),
    [
        ("uniter_ctrl", 24, []),
        ("visualbert_ctrl", 24, []),
        ("vl_bert_ctrl", 24, []),
        ("vilbert_ctrl", 36, [12, 16, 20, 24, 28, 32]),
        ("lxmert_ctrl", 33, [18, 21, 24, 27, 30]),
    ],
)
def test_base_has_the_sublayers_that_volta_s_configs_list(name, count, crossing):
    with torch.device("meta"):
        parts = sublayers(build(name, size="base"))
    assert len(parts) == count
    assert [at for at, part in enumerate(parts) if part.gates == ("tv", "vt")] == crossing
