"""A step of a paper's pre-training: images a second, share of the device's peak and peak memory.

The recipe is composed as `train.py` composes it: its model, objectives, optimiser, clipping, precision, and images and
texts of a device. Weights are random and pixels noise; every step is one of the optimiser, which a recipe that
accumulates batches has less often.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.goals import Goal
from benchmarks.parsing import LENGTH, texts_of_images
from benchmarks.timing import clock_of, interleave
from benchmarks.training import MASK_ID, train
from vlp.configs import instantiate
from vlp.data.groups import Texts
from vlp.data.masking import IGNORE, CellMasking, TextMasking
from vlp.data.pairs import PretrainingBatch
from vlp.data.sample import Batch
from vlp.models import VLEncoder, build_from_config
from vlp.optimisation import parameter_groups
from vlp.pretraining import Bundle, PretrainingModule

PAPER = ("experiment=visual_parsing/pretrain",)
FIGURES = tuple(f"VisualParsing's pre-training, {what}" for what in ("images/s", "MFU", "peak memory in GiB"))
TFLOPS = {"H100 PCIe": 756, "H100 NVL": 835, "H200 NVL": 835, "H100": 989, "H200": 989, "A100": 312}
TFLOPS |= {"V100-PCIE": 112, "V100": 125}
"""Peak of dense products in bfloat16 (of V100, float16) by what a GPU's name has, as NVIDIA's data sheets say."""
FLOP_A_MAC, FORWARDS_A_STEP = 2, 3
"""A backward costs what two forwards do."""
ROUNDS = 7


@dataclass(frozen=True)
class Step:
    """A training step that can be repeated, over so many images, and what the encoder's forward multiplies in it."""

    run: Callable[[], None]
    images: int
    macs: int


def measure(rounds: int | None = None, device: str = "cuda") -> list[Goal]:
    """Return `FIGURES` of the paper's setting on a GPU."""
    try:
        step = training_step(PAPER, device)
        gc.collect()
        torch.cuda.reset_peak_memory_stats()
        seconds = seconds_of(step, device, rounds or ROUNDS)
    except torch.cuda.OutOfMemoryError:
        return [Goal(name, float("nan"), note="needs more memory than the GPU has") for name in FIGURES]
    share = FORWARDS_A_STEP * FLOP_A_MAC * step.macs / seconds / peak_of(torch.cuda.get_device_name())
    values = (step.images / seconds, share, torch.cuda.max_memory_allocated() / 2**30)
    return [Goal(name, value) for name, value in zip(FIGURES, values, strict=True)]


def seconds_of(step: Step, device: str, rounds: int) -> float:
    """Return the median seconds of a step."""
    return statistics.median(interleave({"step": step.run}, rounds, clock_of(device))["step"])


def peak_of(name: str) -> float:
    """Return what a GPU of that name can do at most, in flop/s; NaN where `TFLOPS` lacks it, or it is a part of one."""
    known = [tera for part, tera in TFLOPS.items() if part in name and "MIG" not in name]
    return known[0] * 1e12 if known else float("nan")


def training_step(overrides: Sequence[str], device: str) -> Step:
    """Return the step of the training that ``train.py`` runs with ``overrides``."""
    with initialize_config_module("vlp.conf", version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("train", overrides=list(overrides)), resolve=True)
    torch.manual_seed(0)
    encoder = build_from_config(config["model"]).to(device)
    bundle, optimizer = Bundle.from_config(config["objective"]), instantiate(config["optimizer"], _key_="optimizer")
    assert bundle.texts is not None
    module = PretrainingModule(encoder, bundle, None, optimizer).to(device).train()
    images = config["dataset"]["batch_size"]
    batch = draw(module, images, bundle.texts).to(device)
    groups = parameter_groups(module, config["learning_rates"])
    is_half = config["trainer"]["precision"] == "bf16-mixed"

    def loss(batch: PretrainingBatch) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=is_half):
            encoding = encoder(batch.inputs)
            losses = {name: o(encoding, batch, encoder) for name, o in module.named_objectives(batch)}
            return torch.stack([module.weights[name] * value for name, value in losses.items()]).sum()

    clip = config["trainer"]["gradient_clip_val"]
    run = partial(train, module, module.optimizer(groups), loss, [batch], clip)
    return Step(run, images, forward_macs(encoder, batch.inputs))


def draw(module: PretrainingModule, images: int, texts: Texts) -> PretrainingBatch:
    """Return images of noise with random texts of full length, words and cells hidden as the objectives have it."""
    encoder, corruptions = module.encoder, module.corruptions
    pixels, words, cells = encoder.pixel_input, corruptions["mlm"], corruptions["mfr"]
    assert pixels is not None
    assert isinstance(words, TextMasking)
    assert isinstance(cells, CellMasking)
    inputs, _ = texts_of_images(images, pixels.shortest, encoder.vocab_size, len(texts), texts.longest or LENGTH)
    is_matched = torch.arange(len(texts)).repeat(images) < texts.matched
    generator = torch.Generator().manual_seed(0)
    hidden = torch.rand(inputs.input_ids.shape, generator=generator) < words.probability
    labels = inputs.input_ids.masked_fill(~(hidden & is_matched[:, None]), IGNORE)
    inputs.input_ids = inputs.input_ids.masked_fill(hidden, MASK_ID)
    inputs.pivots = torch.rand(len(inputs), generator=generator)
    inputs.num_hidden = cells.number((pixels.shortest // pixels.multiple) ** 2)
    return PretrainingBatch(inputs, is_matched, labels)


@torch.no_grad()
def forward_macs(encoder: VLEncoder, inputs: Batch) -> int:
    """Return the multiply-accumulates of the encoder's forward in matrix products and convolutions.

    What training adds has no part in it: pooler, heads, alignment, the map that says what to hide; together below 1 %.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # of fused kernels it knows some only
        encoder(replace(inputs, pivots=None, num_hidden=None))
    return counter.get_total_flops() // FLOP_A_MAC
