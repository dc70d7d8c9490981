"""Heads take the width of what they read: text, regions or the pooled state."""

import pytest
import torch
from torch import nn

from tests.data.worlds import HandMade
from tests.models.examples import small_encoder
from vlp.data.masking import PairMismatch, RegionMasking, TextMasking
from vlp.data.ordering import Place
from vlp.data.pairs import PretrainingPairs
from vlp.data.tokenisation import open_tokenizer
from vlp.models import VLEncoder, build
from vlp.objectives.itm import ImageTextMatching
from vlp.objectives.mlm import MaskedLanguageModelling
from vlp.objectives.mrc_kl import MaskedRegionClassificationKL

WIDTHS = {"width": 16, "heads": 2, "vision_width": 24, "vision_heads": 3, "pooled_width": 20}


def subject(name: str) -> VLEncoder:
    torch.manual_seed(0)
    small = {
        **WIDTHS,
        "feed_forward": 32,
        "vision_feed_forward": 24,
        "layers": 1,
        "text_only_layers": 1,
        "co_layers": 1,
    }
    return build(name, feature_width=HandMade.feature_width, **small)


@pytest.mark.parametrize("name", ["vilbert", "vilbert_ctrl", "uniter_ctrl", "lxmert_ctrl"])
def test_one_pass_trains_every_head_at_its_stream_s_width(name):
    encoder = subject(name)
    objectives = nn.ModuleDict(
        {
            "itm": ImageTextMatching(encoder, PairMismatch()),
            "mlm": MaskedLanguageModelling(encoder, TextMasking(0.4)),
            "mrc_kl": MaskedRegionClassificationKL(encoder, RegionMasking(0.5), HandMade.num_classes),
        }
    )
    assert objectives["itm"].head.dense.in_features == 20
    assert objectives["mlm"].head.transform.dense.in_features == 16
    assert objectives["mrc_kl"].head.decoder.in_features == (24 if name == "vilbert" else 16)
    corruptions = {task: objective.corruption for task, objective in objectives.items()}
    batch = PretrainingPairs(HandMade(12), open_tokenizer(), corruptions)[[Place(0, at, ()) for at in range(12)]]
    encoding = encoder(batch.inputs)
    assert encoding.vision.shape[1] == batch.asked_regions.shape[1]
    torch.stack([objective(encoding, batch, encoder) for objective in objectives.values()]).sum().backward()
    for parameter in objectives.parameters():
        assert parameter.grad.any()


def test_vl_bert_s_region_head_has_no_norm():
    encoder = small_encoder("vl_bert")
    with_norm, without = (
        MaskedRegionClassificationKL(encoder, RegionMasking(), 5, head_norm=flag).head for flag in (True, False)
    )
    states = torch.randn(3, 32)
    expected = without.decoder(nn.functional.gelu(without.transform.dense(states)))
    torch.testing.assert_close(without(states), expected)
    assert sum(p.numel() for p in with_norm.parameters()) - sum(p.numel() for p in without.parameters()) == 2 * 32


def test_a_model_without_a_pooler_is_not_asked_about_matching():
    with pytest.raises(ValueError, match=r"^itm asks whether image and text match; model vl_bert has no image or no"):
        ImageTextMatching(small_encoder("vl_bert"), PairMismatch())
