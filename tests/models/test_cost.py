import pytest
import torch
from torch import nn

from vlp.configs import option_names
from vlp.models import build
from vlp.models.cost import Cost, parser_cost
from vlp.models.parsers import ConvolutionalParser, PatchParser, SwinParser


@pytest.mark.parametrize(
    ("make", "size", "giga", "millions"),
    [
        (lambda: SwinParser("swin_tiny_patch4_window7_224", 224), 224, 4.49, 28.29),
        (lambda: SwinParser("swin_base_patch4_window12_384", 384), 384, 47.08, 87.90),
        (lambda: ConvolutionalParser("resnet50"), 224, 4.09, 25.56),
        (lambda: ConvolutionalParser("resnet101"), 224, 7.80, 44.55),
    ],
)
def test_cost_is_the_published_one(make, size, giga, millions):
    with torch.device("meta"):
        found = parser_cost(make(), size)
    assert found.macs / 1e9 == pytest.approx(giga, abs=0.005)
    assert found.parameters / 1e6 == pytest.approx(millions, abs=0.005)


def test_a_linear_map_of_patches_costs_what_is_worked_out_by_hand():
    parser = PatchParser(stride=4, width=5)
    assert parser_cost(parser, 12, num_classes=0) == Cost(macs=3 * 3 * (3 * 4 * 4) * 5, parameters=(3 * 4 * 4 + 1) * 5)
    assert parser_cost(parser, 12, num_classes=2) == Cost(macs=2160 + 10, parameters=245 + 12)


def test_fused_attention_costs_the_same():
    options = {"options": {"depths": (1, 1)}}
    parsers = [SwinParser("swin_tiny_patch4_window7_224", 32, fused=fused, **options) for fused in (False, True)]
    assert parser_cost(parsers[0], 32) == parser_cost(parsers[1], 32)


def test_a_parser_is_left_where_and_as_it_was():
    parser = PatchParser(stride=4, width=5).train()
    before = nn.utils.parameters_to_vector(parser.parameters()).clone()
    parser_cost(parser, 8)
    assert parser.training
    assert torch.equal(nn.utils.parameters_to_vector(parser.parameters()), before)


@pytest.mark.parametrize("size", option_names("size"))
def test_every_parser_gives_a_size_as_many_cells_and_may_be_counted(size):
    with torch.device("meta"):
        encoders = {name: build("swin_vlp", size, visual_parser=name) for name in option_names("visual_parser")}
        costs = {n: parser_cost(e.embeddings.parser, e.pixel_input.shortest, 0) for n, e in encoders.items()}
    assert len({encoder.pixel_input for encoder in encoders.values()}) == 1
    assert costs["patch"].macs < costs["resnet50"].macs < costs["resnet101"].macs
    assert costs["patch"].parameters < costs["resnet50"].parameters < costs["resnet101"].parameters


def test_tiny_parsers_stand_to_each_other_about_as_those_of_the_paper():
    encoders = {name: build("swin_vlp", visual_parser=name) for name in ("swin", "resnet50", "resnet101")}
    found = {n: parser_cost(e.embeddings.parser, e.pixel_input.shortest, 0).parameters for n, e in encoders.items()}
    assert found["resnet50"] / found["swin"] == pytest.approx(25.6 / 28.0, abs=0.15)
    assert found["resnet101"] / found["swin"] == pytest.approx(44.5 / 28.0, abs=0.15)
