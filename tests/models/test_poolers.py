import pytest
import torch

from vlp.models.poolers import FirstTokenPooler, FusedPooler


def streams():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, generator=generator), torch.randn(2, 5, 6, generator=generator)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("fusion", ["mul", "sum", "text"])
@torch.no_grad()
def test_the_first_tokens_are_projected_and_fused(fusion, activation):
    torch.manual_seed(0)
    pooler = FusedPooler(4, 6, 7, fusion, activation).eval()
    text, vision = streams()
    shape = {"relu": lambda value: value.clamp(min=0), "tanh": torch.tanh}[activation]
    first = shape(text[:, 0] @ pooler.text.weight.T + pooler.text.bias)
    if fusion == "text":
        assert pooler.vision is None
        expected = first
    else:
        second = shape(vision[:, 0] @ pooler.vision.weight.T + pooler.vision.bias)
        expected = first * second if fusion == "mul" else first + second
    torch.testing.assert_close(pooler(text, vision), expected)
    assert pooler.width == 7


def test_dropout_follows_fusion():
    torch.manual_seed(0)
    pooler = FusedPooler(4, 6, 1000, "sum", "relu", dropout=0.5).train()
    text, vision = (part.abs() for part in streams())
    for parameter in pooler.parameters():
        parameter.data = parameter.data.abs() + 0.1
    assert (pooler(text, vision) == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_the_first_token_s_tanh():
    torch.manual_seed(0)
    pooler, (text, _) = FirstTokenPooler(4), streams()
    torch.testing.assert_close(pooler(text, None), torch.tanh(pooler.dense(text)[:, 0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fusion": "none"}, "fusion=none is none of mul, sum, text; without a pooler it is pooler: null"),
        ({"activation": "gelu"}, "activation=gelu is none of relu, tanh"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, message):
    with pytest.raises(ValueError) as error:
        FusedPooler(4, 6, 7, **arguments)
    assert str(error.value) == message


def test_fusion_needs_an_image():
    with pytest.raises(ValueError, match=r"^fusion=mul needs an image, the batch has none$"):
        FusedPooler(4, 6, 7)(streams()[0], None)
