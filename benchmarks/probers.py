"""The embedding prober of twelve layers as one fit, beside twelve fits with a DataLoader and torch's default AdamW.

The same cached states of BERT's size, the same classifier (rank 768), batches of 256, as many epochs, each followed by
a validation. And what a bootstrap costs beside the fit it is about.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.goals import Goal
from benchmarks.timing import Ratio, Times, interleave, ratio
from benchmarks.training import BF16_FLAGS, cpu_flags
from vlp.configs import instantiate, read_option
from vlp.metrics.resampling import ClusteredBootstrap
from vlp.probes.probers import EmbeddingProber, Examples, FitSettings, Fitted, fit

# Axes: N pairs, L layers, D width, C classes.

LAYERS, WIDTH, NUM_CLASSES = 12, 768, 30
TRAIN, VAL, EPOCHS, BATCH_SIZE = 2048, 512, 2, 256
TEST_PAIRS, IMAGES, RESAMPLES = 15000, 5000, 1000
LEAST_EPOCHS = 4
"""A fit that is never better than after its first epoch, with a patience of 3."""
ROUNDS = 3
FP32, BF16, BOOTSTRAP_PERCENT = 0.70, 0.45, 1.0


def measure(rounds: int | None = None) -> list[Goal]:
    """Return what a fit of all layers costs, in float32 and in bfloat16, and a bootstrap."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    train, val = draw(TRAIN + VAL, LAYERS, WIDTH)
    has_bf16 = not BF16_FLAGS.isdisjoint(cpu_flags())
    contenders: dict[str, Callable[[], object]] = {
        "peer": partial(separate, train, val),
        "fp32": partial(together, train, val, "32-true"),
        "bootstrap": bootstrap(TEST_PAIRS, IMAGES),
    }
    if has_bf16:
        contenders["bf16"] = partial(together, train, val, "bf16-mixed")
    times = interleave(contenders, rounds or ROUNDS)
    names = {kind: f"embedding prober of {LAYERS} layers, {kind} / a fit a layer, fp32" for kind in ("fp32", "bf16")}
    half = (
        Goal.of_ratio(names["bf16"], ratio(times, "bf16", "peer"), BF16)
        if has_bf16
        else Goal(names["bf16"], float("nan"), BF16, note="the CPU has neither AMX nor AVX512-BF16")
    )
    return [Goal.of_ratio(names["fp32"], ratio(times, "fp32", "peer"), FP32), half, _bootstrap_goal(times)]


def draw(size: int, layers: int, width: int) -> tuple[Examples, Examples]:
    """Return random pairs (N, L, 2, D), a fifth of them for validation; the last layer says which of two is larger."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(size, layers, 2, width, generator=generator)
    label = (states[:, -1, 0, 0] > states[:, -1, 1, 0]).long()
    pairs, split = Examples(states, label), size * TRAIN // (TRAIN + VAL)
    return pairs.select(torch.arange(split)), pairs.select(torch.arange(split, size))


def together(train: Examples, val: Examples, precision: str, epochs: int = EPOCHS) -> Fitted:
    """Fit every layer at once, as a probe does."""
    settings = FitSettings([0], BATCH_SIZE, 1, epochs, epochs, accelerator="cpu", precision=precision)
    optimizer = instantiate(read_option("optimizer", "prober"), _key_="optimizer")
    return fit(partial(EmbeddingProber, optimizer=optimizer, fitting=settings), train, val, NUM_CLASSES)


def separate(train: Examples, val: Examples, epochs: int = EPOCHS) -> list[float]:
    """Fit layer after layer, and return their accuracies in validation."""
    return [_fit_layer(*_standardised(train, val, layer), epochs) for layer in range(train.item_shape[0])]


class Bilinear(nn.Module):
    """Equation 4 with biases that start at 1, for one layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Linear(width, width) for _ in range(2))
        self.classes = nn.Linear(width, NUM_CLASSES, bias=False)
        for side in (self.first, self.second):
            nn.init.ones_(side.bias)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return logits (B, C) of states (B, D)."""
        return self.classes(self.first(first) * self.second(second))


def _standardised(train: Examples, val: Examples, layer: int) -> list[TensorDataset]:
    rows = [examples.take(torch.arange(len(examples))) for examples in (train, val)]
    states = [inputs[:, layer] for inputs, _ in rows]
    std, mean = torch.std_mean(states[0], 0)
    return [
        TensorDataset(*((each - mean) / std).unbind(1), label) for each, (_, label) in zip(states, rows, strict=True)
    ]


def _fit_layer(train: TensorDataset, val: TensorDataset, epochs: int) -> float:
    torch.manual_seed(0)
    model = Bilinear(train.tensors[0].shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    accuracy = 0.0
    for _ in range(epochs):
        for first, second, label in DataLoader(train, BATCH_SIZE, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(first, second), label).backward()
            optimizer.step()
        with torch.no_grad():
            right = [model(a, b).argmax(-1) == label for a, b, label in DataLoader(val, BATCH_SIZE)]
        accuracy = max(accuracy, torch.cat(right).double().mean().item())
    return accuracy


def bootstrap(pairs: int, images: int) -> Callable[[], object]:
    """Return an interval of every layer's accuracy."""
    is_right = torch.rand(LAYERS, pairs, generator=torch.Generator().manual_seed(0)) < 0.6
    groups = [f"image-{pair % images}" for pair in range(pairs)]
    return lambda: ClusteredBootstrap(groups, RESAMPLES).mean(is_right)


def _bootstrap_goal(times: Times) -> Goal:
    """Return the goal that a bootstrap costs little beside the shortest fit to as many pairs."""
    fits = TEST_PAIRS * LEAST_EPOCHS / (TRAIN * EPOCHS)
    shares = [100 * cost / (fits * one) for cost, one in zip(times["bootstrap"], times["fp32"], strict=True)]
    best = 100 * min(times["bootstrap"]) / (fits * min(times["fp32"]))
    note = f"{math.ceil(1000 * statistics.median(times['bootstrap']))} ms"
    name = f"bootstrap of {TEST_PAIRS} pairs / a fit to as many, %"
    return Goal.of_ratio(name, Ratio(statistics.median(shares), best), BOOTSTRAP_PERCENT, note=note)
