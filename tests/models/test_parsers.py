import pytest
import timm
import torch

from tests.models.examples import SMALL, batch_for, small_encoder
from vlp.models import build
from vlp.models.parsers import ConvolutionalParser, SwinParser, attention_weights

TINY = "swin_tiny_patch4_window7_224"


def on_meta(make):
    with torch.device("meta"):
        return make()


def millions(module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "size", "width", "side", "parameters"),
    [
        (TINY, 224, 768, 7, 27.52),
        (TINY, 384, 768, 12, 27.57),
        ("swin_small_patch4_window7_224", 224, 768, 7, 48.84),
        ("swin_base_patch4_window7_224", 224, 1024, 7, 86.74),
        ("swin_base_patch4_window12_384", 384, 1024, 12, 86.88),
    ],
)
def test_swin_has_the_published_sizes_and_one_window_in_its_last_block(name, size, width, side, parameters):
    parser = on_meta(lambda: SwinParser(name, size))
    assert millions(parser) == pytest.approx(parameters, abs=0.005)
    assert (parser.width, parser.stride) == (width, 32)
    last = parser.network.layers[-1].blocks[-1]
    assert (tuple(last.window_size), tuple(last.shift_size)) == ((side, side), (0, 0))


def test_a_window_that_leaves_the_last_map_in_pieces_is_refused():
    with pytest.raises(ValueError) as error:
        on_meta(lambda: SwinParser(TINY, 384, window=7))
    assert str(error.value) == (
        f"{TINY} at 384 pixels: the last block has windows of 7 x 7 cells, shifted by 3, expected one of 12 x 12: "
        "give window=12 or null"
    )


@pytest.mark.parametrize(
    ("image_size", "nearest"), [(100, "96 or 112"), (104, "96 or 112"), (120, "112 or 128"), (10, "16")]
)
@pytest.mark.parametrize("window", [None, 7])
def test_a_size_that_is_no_whole_number_of_cells_is_refused_with_the_nearest(image_size, nearest, window):
    numbers = {"embed_dim": 16, "depths": [1, 1, 2], "num_heads": [1, 2, 4]}
    with pytest.raises(ValueError) as error:
        SwinParser(TINY, image_size, window, options=numbers)
    assert str(error.value) == (
        f"size.swin_vlp.image_size={image_size}: expected a multiple of 16, the pixels of a cell of {TINY}, "
        f"such as {nearest}"
    )
    assert SwinParser(TINY, 112, window, options=numbers).stride == 16


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("swinv2_tiny_window8_256", {}, "that is a SwinTransformerV2"),
        ("resnet18", {}, "timm says ResNet.__init__() got an unexpected keyword argument 'img_size'"),
        ("swin_of_no_kind", {}, "timm says Unknown model (swin_of_no_kind)"),
        (TINY, {"dept": [1]}, "timm says SwinTransformer.__init__() got an unexpected keyword argument 'dept'"),
    ],
)
def test_what_is_no_classic_swin_is_refused_by_name(name, options, found):
    with pytest.raises(ValueError) as error:
        on_meta(lambda: SwinParser(name, 256, options=options))
    assert str(error.value) == (
        f"size.swin_vlp.parser={name}: {found}; expected the name of a Swin Transformer of timm (the first version), "
        "with options of its own"
    )


def test_pixels_of_another_size_are_refused():
    parser = SwinParser(TINY, 16, options=SMALL["swin_vlp"]["options"])
    with pytest.raises(ValueError) as error:
        parser(torch.zeros(1, 3, 24, 16))
    assert str(error.value) == f"{TINY} was built for 16 pixels a side, the batch's are 16 x 24"


@pytest.mark.parametrize(("name", "parameters"), [("resnet50", 23.51), ("resnet101", 42.50)])
def test_resnet_has_the_published_sizes(name, parameters):
    parser = on_meta(lambda: ConvolutionalParser(name))
    assert millions(parser) == pytest.approx(parameters, abs=0.005)
    assert (parser.width, parser.stride) == (2048, 32)


@torch.no_grad()
def test_a_convolutional_map_is_timms_row_by_row():
    parser = ConvolutionalParser("resnet18", stage=3, pool=2).eval()
    peer = timm.create_model("resnet18", num_classes=0, global_pool="").eval()
    peer.load_state_dict(parser.network.state_dict(), strict=False)
    pixels = torch.randn(2, 3, 64, 96)
    found = parser(pixels)
    assert (found.shape, parser.stride) == ((2, 2, 3, 256), 32)
    third = peer.layer3(peer.layer2(peer.layer1(peer.maxpool(peer.act1(peer.bn1(peer.conv1(pixels)))))))
    for row in range(2):
        for column in range(3):
            cells = third[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            torch.testing.assert_close(found[:, row, column], cells.amax((2, 3)))


@pytest.mark.parametrize("name", ["soho", "swin_vlp"])
def test_a_backbone_begins_as_timm_begins_it(name):
    """Not with BERT's weights: a convolution of He et al. is scaled to its fan, Swin's biases of position are small."""
    torch.manual_seed(0)
    encoder = build(name)
    fresh = encoder.embeddings.parser.create()
    for (key, ours), theirs in zip(encoder.embeddings.parser.named_parameters(), fresh.parameters(), strict=True):
        if ours.numel() >= 1024:
            assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.1), key
    text = encoder.word_embeddings.weight.std().item()
    assert text == pytest.approx(encoder.initializer_range, rel=0.02)


def test_drop_path_is_of_training_alone():
    encoder = small_encoder("swin_vlp", drop_path=0.5, dropout=0.0, attention_dropout=0.0)
    given = batch_for(encoder)
    assert torch.equal(encoder(given).text, encoder(given).text)
    encoder.train()
    torch.manual_seed(0)
    outputs = [encoder(given).text for _ in range(4)]
    assert any(not torch.equal(outputs[0], other) for other in outputs[1:])


def pixels_and_parser(image_size=64, depths=(1, 1, 2), fused=False, **options):
    torch.manual_seed(0)
    numbers = {"embed_dim": 16, "depths": list(depths), "num_heads": [1, 2, 4], **options}
    parser = SwinParser(TINY, image_size, drop_path=0.0, options=numbers, fused=fused)
    for parameter in parser.parameters():  # tables of relative positions and biases start at 0
        parameter.data += 0.3 * torch.randn_like(parameter)
    return torch.randn(3, 3, image_size, image_size), parser


@pytest.mark.parametrize("fused", [False, True])
@torch.no_grad()
def test_weights_computed_again_give_the_block_s_own_output(fused):
    pixels, parser = pixels_and_parser(fused=fused)
    attention, seen = parser.network.layers[-1].blocks[-1].attn, {}
    assert attention.fused_attn is fused
    attention.register_forward_hook(lambda module, args, output: seen.update(given=args[0], output=output))
    features, weights_BVV = parser.parse(pixels)
    weights = attention_weights(attention, seen["given"])
    values = attention.qkv(seen["given"]).unflatten(-1, (3, 4, -1))[:, :, 2].transpose(1, 2)
    output = attention.proj((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(output, seen["output"], rtol=1e-5, atol=1e-5)
    assert torch.equal(weights.mean(1), weights_BVV)
    assert torch.equal(features, parser(pixels))
    assert weights_BVV.shape == (3, 16, 16)
    torch.testing.assert_close(weights_BVV.sum(-1), torch.ones(3, 16), rtol=0, atol=1e-6)
    assert weights_BVV.std() > 0.02  # no uniform map, in which every mistake gives the same


@torch.no_grad()
def test_weights_are_those_of_timm_s_softmax():
    pixels, parser = pixels_and_parser()
    seen = []
    softmax = parser.network.layers[-1].blocks[-1].attn.softmax
    softmax.register_forward_hook(lambda module, args, output: seen.append(output))
    _, weights_BVV = parser.parse(pixels)
    torch.testing.assert_close(weights_BVV, seen[0].mean(1), rtol=1e-6, atol=1e-7)


def test_a_map_has_no_gradient_is_of_the_same_pass_and_leaves_nothing_behind():
    pixels, parser = pixels_and_parser()
    features, weights = parser.parse(pixels)
    assert features.requires_grad
    assert not weights.requires_grad
    assert not parser.network.layers[-1].blocks[-1].attn._forward_pre_hooks
    pixels, dropping = pixels_and_parser()
    dropping.network = SwinParser(TINY, 64, drop_path=0.9, options=parser.options).network.train()
    maps = [dropping.parse(pixels)[1] for _ in range(2)]
    assert not torch.equal(*maps)


@torch.no_grad()
def test_half_precision_computes_the_map_in_full():
    pixels, parser = pixels_and_parser()
    attention, seen = parser.network.layers[-1].blocks[-1].attn, []
    attention.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.autocast("cpu", torch.bfloat16):
        _, weights = parser.parse(pixels)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, attention_weights(attention, seen[0].float()).mean(1))


@torch.no_grad()
def test_checkpointing_gives_the_same_map_and_keeps_one():
    pixels, parser = pixels_and_parser()
    expected = parser.parse(pixels)[1]
    parser.network.set_grad_checkpointing(True)
    with torch.enable_grad():
        features, weights = parser.train().parse(pixels)
        features.sum().backward()
    assert torch.equal(weights, expected)
