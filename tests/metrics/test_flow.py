"""Inter-Modality Flow against its closed forms, with L layers, m visual and n text tokens."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from vlp.metrics.flow import cross_modal_share, inter_modality_flow, rollout

# Axes: B samples, L layers, S tokens of both modalities.


def modalities(num_text: int, num_vision: int) -> tuple[Tensor, Tensor]:
    is_vision = torch.arange(num_text + num_vision)[None] >= num_text
    return is_vision, torch.ones_like(is_vision)


def flow(weights: Tensor, num_text: int, num_vision: int, layers: int = 1) -> float:
    """Return the flow through ``layers`` equal layers of attention ``weights`` (S, S)."""
    stacked = weights.double().expand(1, layers, -1, -1)
    return inter_modality_flow(stacked, *modalities(num_text, num_vision)).item()


def random_attention(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64).softmax(-1)


def test_attention_to_oneself_does_not_flow():
    assert flow(torch.eye(7), 3, 4, layers=5) == 0.0


def test_attention_within_modalities_does_not_flow():
    assert flow(torch.block_diag(random_attention(3, 3), random_attention(4, 4)), 3, 4, layers=5) == 0.0


@pytest.mark.parametrize(
    ("num_vision", "num_text", "layers", "printed"),
    [
        (49, 16, 1, 0.1856),
        (49, 16, 3, 0.3247),
        (49, 16, 12, 0.3710),
        (144, 16, 1, 0.0900),
        (144, 16, 3, 0.1575),
        (144, 16, 12, 0.1800),
        (49, 49, 1, 0.25),
        (49, 49, 3, 0.4375),
        (49, 49, 12, 0.49988),
    ],
)
def test_uniform_attention_gives_the_printed_values(num_vision: int, num_text: int, layers: int, printed: float):
    total = num_text + num_vision
    value = flow(torch.full((total, total), 1 / total, dtype=torch.float64), num_text, num_vision, layers)
    assert value == pytest.approx((1 - 2**-layers) * 2 * num_vision * num_text / total**2, abs=1e-12)
    assert value == pytest.approx(printed, abs=5e-5)


@pytest.mark.parametrize("layers", [1, 2, 12])
def test_attention_that_always_crosses_gives_one_half(layers: int):
    weights = torch.zeros(7, 7, dtype=torch.float64)
    weights[:3, 3:] = random_attention(3, 4)
    weights[3:, :3] = random_attention(4, 3)
    assert flow(weights, 3, 4, layers) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("layers", [1, 2, 6])
def test_attention_to_text_alone_can_exceed_one_half(layers: int):
    weights = torch.zeros(12, 12, dtype=torch.float64)
    weights[:, :3] = 1 / 3
    assert flow(weights, 3, 9, layers) == pytest.approx((1 - 2**-layers) * 9 / 12, abs=1e-12)


@pytest.mark.parametrize("layers", [1, 3, 12])
def test_lumpable_attention_gives_its_closed_form(layers: int):
    num_text, num_vision, to_vision, to_text = 5, 8, 0.3, 0.1  # b of each text row, a of each visual row
    weights = torch.cat(
        [
            torch.cat([(1 - to_vision) * random_attention(5, 5), to_vision * random_attention(5, 8)], 1),
            torch.cat([to_text * random_attention(8, 5), (1 - to_text) * random_attention(8, 8)], 1),
        ]
    )
    rho = 1 - (to_text + to_vision) / 2
    mixed = (num_vision * to_text + num_text * to_vision) / (to_text + to_vision)
    expected = mixed * (1 - rho**layers) / (num_text + num_vision)
    assert flow(weights, num_text, num_vision, layers) == pytest.approx(expected, abs=1e-12)


def test_the_later_layer_stands_on_the_left():
    # Row 2 reads token 0, then row 3 reads token 2: text reaches token 3 only in this order.
    layers = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    layers[0, 2] = torch.tensor([1, 0, 0, 0])
    layers[1, 3] = torch.tensor([0, 0, 1, 0])
    assert rollout(layers[None], modalities(2, 2)[1])[0, 3, 0].item() == 0.25
    assert inter_modality_flow(layers[None], *modalities(2, 2)).item() == 0.1875
    assert inter_modality_flow(layers.flip(0)[None], *modalities(2, 2)).item() == 0.125


def test_order_within_a_modality_is_irrelevant():
    attention = random_attention(2, 4, 9, 9)
    order = torch.cat([torch.randperm(4), 4 + torch.randperm(5)])
    moved = attention[:, :, order][..., order]
    torch.testing.assert_close(
        inter_modality_flow(moved, *expanded(4, 5)), inter_modality_flow(attention, *expanded(4, 5)), rtol=0, atol=1e-12
    )


def expanded(num_text: int, num_vision: int) -> tuple[Tensor, Tensor]:
    is_vision, mask = modalities(num_text, num_vision)
    return is_vision.expand(2, -1), mask.expand(2, -1)


def test_padding_does_not_change_flow_whatever_stands_there():
    attention = random_attention(2, 4, 9, 9)
    place = torch.cat([torch.arange(4), torch.arange(6, 11)])
    wide = torch.full((2, 4, 13, 13), torch.nan, dtype=torch.float64)
    wide[:, :, place[:, None], place] = attention
    mask, is_vision = torch.zeros(2, 2, 13, dtype=torch.bool)
    mask[:, place] = True
    is_vision[:, 6:] = True
    expected = inter_modality_flow(attention, *expanded(4, 5))
    torch.testing.assert_close(inter_modality_flow(wide, is_vision, mask), expected, rtol=0, atol=1e-12)


def test_first_and_last_choose_layers_from_one():
    attention = random_attention(2, 6, 9, 9)
    chosen = inter_modality_flow(attention[:, 1:4], *expanded(4, 5))
    assert torch.equal(inter_modality_flow(attention, *expanded(4, 5), first=2, last=4), chosen)


def test_rows_of_a_path_sum_to_one():
    path = rollout(random_attention(2, 12, 9, 9), expanded(4, 5)[1])
    torch.testing.assert_close(path.sum(-1), torch.ones(2, 9, dtype=torch.float64))


def test_tokens_left_out_of_the_sums_still_carry_the_path():
    attention = random_attention(1, 3, 9, 9)
    is_vision, mask = modalities(4, 5)
    inner = mask.clone()
    inner[:, 0] = False
    path = rollout(attention, mask)
    kept = path[:, 1:, 1:]
    expected = cross_modal_share(kept, is_vision[:, 1:], mask[:, 1:])
    torch.testing.assert_close(cross_modal_share(path, is_vision, inner), expected)


def test_a_sample_with_one_modality_has_no_flow():
    is_vision, mask = modalities(4, 0)
    assert inter_modality_flow(random_attention(1, 2, 4, 4), is_vision, mask).isnan().item()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": 0}, "first=0, last=2: expected 1 <= first <= last <= 2 layers"),
        ({"last": 3}, "first=1, last=3: expected 1 <= first <= last <= 2 layers"),
        ({"first": 2, "last": 1}, "first=2, last=1: expected 1 <= first <= last <= 2 layers"),
        ({"attention": torch.ones(1, 2, 4, 5)}, "attention must have shape (B, L, S, S), got (1, 2, 4, 5)"),
        (
            {"attention": torch.full((1, 2, 4, 4), 0.3)},
            "attention rows of real tokens differ from a sum of 1 over real tokens by 0.2",
        ),
        (
            {"mask": torch.ones(1, 3, dtype=torch.bool)},
            "mask must be bool of shape (1, 4), got torch.bool of shape (1, 3)",
        ),
    ],
)
def test_bad_input_is_named(change: dict[str, object], message: str):
    is_vision, mask = modalities(2, 2)
    arguments = {"attention": random_attention(1, 2, 4, 4), "is_vision": is_vision, "mask": mask}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        inter_modality_flow(**(arguments | change))
