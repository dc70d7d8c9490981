"""BatchNorm in training sees all real places of a batch at once, whatever the images' sizes."""

import copy
from dataclasses import replace

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from tests.models.examples import pixel_batch
from vlp.data.pixels import PixelInput
from vlp.models.embeddings.pixels import cell_mask, parsed
from vlp.models.parsers import ConvolutionalParser
from vlp.models.shared_statistics import shared_statistics

GRIDS = ((2, 3), (2, 2), (4, 2))
SMALL = {
    "resnet18": {"channels": [8, 8, 8, 8], "layers": [1, 1, 1, 1]},
    "resnet50d": {"layers": [1, 1, 1, 1], "stem_width": 4, "base_width": 16},  # pools by means too
    "resnext50_32x4d": {"layers": [1, 1, 1, 1]},
}


def small_parser(name: str = "resnet18", stage: int = 2) -> ConvolutionalParser:
    torch.manual_seed(0)
    parser = ConvolutionalParser(name, stage=stage, pool=2, options=SMALL[name]).double().train()
    for parameter in parser.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return parser


def batch_of(parser, grids=GRIDS, **kinds):
    given = pixel_batch(PixelInput(16, 64, parser.stride), (3,) * len(grids), grids, **kinds)
    return replace(given, pixels=given.pixels.double())


def found(parser, given):
    return parsed(parser, given, cell_mask(given, parser.stride), parser.stride)


def wider(given, by: int):
    """The same images with more padding, rubbish in it."""
    pixels = functional.pad(given.pixels, (0, by, 0, by), value=1e4)
    return replace(given, pixels=pixels, pixel_mask=functional.pad(given.pixel_mask, (0, by, 0, by)))


def test_statistics_are_those_of_all_images_convolved_alone():
    torch.manual_seed(0)
    first, norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
    second, last = nn.Conv2d(4, 5, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(5)
    network = nn.Sequential(first, norm, nn.ReLU(), second, last).double().train()
    given = pixel_batch(PixelInput(16, 64, 2), (3, 3, 3), GRIDS)
    pixels = given.pixels.double()
    with shared_statistics(network, given.pixel_mask):
        together = network(pixels)

    images = [pixels[row, :, : 2 * rows, : 2 * columns] for row, (rows, columns) in enumerate(GRIDS)]
    for convolution, layer in ((first, norm), (second, last)):
        images = [convolution(image[None])[0] for image in images]
        values = torch.cat([image.flatten(1) for image in images], dim=1)
        mean, variance = values.mean(1), values.var(1, unbiased=False)
        torch.testing.assert_close(layer.running_mean, 0.1 * mean)
        torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * values.var(1))
        scale = (variance + layer.eps).rsqrt()[:, None, None]
        images = [(image - mean[:, None, None]) * scale for image in images]
        if layer is norm:
            images = [image.relu() for image in images]
    for row, (image, (rows, columns)) in enumerate(zip(images, GRIDS, strict=True)):
        torch.testing.assert_close(together[row, :, :rows, :columns], image)
        assert together[row, :, rows:].count_nonzero() == together[row, :, :, columns:].count_nonzero() == 0


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_an_image_is_parsed_as_if_it_stood_alone(name):
    parser = small_parser(name).eval()
    given = batch_of(parser)
    by_size = found(parser, given)  # with statistics that are fixed
    with shared_statistics(parser, given.pixel_mask):
        together = parser(given.pixels)[cell_mask(given, parser.stride)]
    torch.testing.assert_close(together, by_size)


@pytest.mark.parametrize("grids", [GRIDS, ((2, 2), (2, 2), (2, 2))])
def test_how_a_batch_is_padded_changes_nothing_in_training(grids):
    outputs, gradients, statistics = [], [], []
    for by in (0, 32):
        parser = small_parser()
        given = wider(batch_of(parser, grids), by)
        output = found(parser, given)
        output.square().sum().backward()
        outputs.append(output)
        gradients.append([parameter.grad for parameter in parser.parameters()])
        statistics.append(list(parser.buffers()))
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(statistics[1], statistics[0])


def test_a_batch_of_several_sizes_is_one_step_of_the_running_statistics():
    parser = small_parser()
    steps = []
    for grids in (((2, 2), (2, 2)), ((2, 2), (4, 2))):
        fresh = copy.deepcopy(parser)
        found(fresh, batch_of(fresh, grids))
        steps.append({key: int(value) for key, value in fresh.named_buffers() if key.endswith("num_batches_tracked")})
    assert steps[0] == steps[1]
    assert set(steps[0].values()) == {1}


def test_processes_that_synchronise_call_every_layer_once_whatever_the_sizes():
    """``trainer.sync_batchnorm=true`` puts layers of another class; a process with more calls would wait for ever."""
    parser = small_parser()
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(parser))
    layers = [module for module in synchronised.modules() if isinstance(module, nn.SyncBatchNorm)]
    called = []
    for grids in (GRIDS, ((2, 2), (2, 2))):
        calls = []
        hooks = [layer.register_forward_hook(lambda module, *_, calls=calls: calls.append(module)) for layer in layers]
        torch.testing.assert_close(found(synchronised, batch_of(parser, grids)), found(parser, batch_of(parser, grids)))
        called.append(calls)
        for hook in hooks:
            hook.remove()
    assert called[0] == called[1] == [layer for layer in layers if layer in called[0]]


def test_a_layer_that_would_average_over_padding_is_refused():
    network = timm.create_model("seresnet50", layers=[1, 1, 1, 1], pretrained=False)
    with pytest.raises(ValueError) as error, shared_statistics(network, torch.ones(2, 64, 64, dtype=torch.bool)):
        pass
    assert str(error.value) == (
        "images of several sizes in one training batch: Sigmoid would mix an image with the padding beside it; "
        "give images of one size, or a network of convolutions, BatchNorm, ReLU and pooling"
    )


def test_a_convolution_that_pads_with_anything_but_zeros_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4))
    with pytest.raises(ValueError) as error, shared_statistics(network, torch.ones(2, 64, 64, dtype=torch.bool)):
        pass
    assert str(error.value) == (
        "images of several sizes in one training batch: a convolution with padding_mode=reflect would see zeros where "
        "an image of its own ends in something else; give images of one size, or a network whose padding is zeros"
    )


def test_nothing_is_left_behind():
    parser = small_parser()
    before = small_parser().eval()
    with pytest.raises(RuntimeError), shared_statistics(parser, torch.ones(2, 32, 32, dtype=torch.bool)):
        parser(torch.zeros(2, 5, 32, 32, dtype=torch.float64))
    pixels = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert torch.equal(parser.eval()(pixels), before(pixels))
