"""A pre-training step of VisualBERT-base, beside transformers' `VisualBertForPreTraining` and its usual training loop.

The same pairs: captions of 12 pieces on average and 26 at most, 36 regions, batches of 16, masked words and matching,
dropout 0.1, gradient clipping. The peer pads to the longest caption of batches in drawn order and steps with torch's
default AdamW; ours reads batches of like length, as our loader gives them, with the AdamW of ``conf/optimizer``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from benchmarks.goals import Goal
from benchmarks.timing import interleave, ratio
from vlp.configs import instantiate, read_option, resolve
from vlp.data.collate import lengths_mask, pad
from vlp.data.masking import IGNORE
from vlp.data.ordering import TrainingOrder
from vlp.data.pairs import PretrainingBatch
from vlp.data.sample import Batch
from vlp.models import build
from vlp.pretraining import Bundle, PretrainingModule

# Axes: B pairs, T pieces, V regions, F feature width.

BATCH_SIZE, NUM_BATCHES, REGIONS, FEATURE_WIDTH, VOCAB = 16, 4, 36, 2048, 30522
MEAN, LONGEST, SHORTEST = 12, 26, 4
SHIFT, SHAPE, SCALE = 6.8, 1.56, 3.6
"""Caption lengths are SHIFT + Gamma(SHAPE, SCALE): as skewed (1.6) as those of Flickr30k, which are longer."""
POOL = 512
"""Pairs among which batches of like length are formed; a few batches, evenly spread over lengths, are timed."""
MASKED, MASK_ID, CLIP = 0.15, 103, 1.0
ROUNDS = 3
BF16_FLAGS = {"amx_bf16", "avx512_bf16"}
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Pairs:
    """Captions of unequal length with words hidden, region features (N, V, F), and whether they match (N,)."""

    input_ids: list[Tensor]
    labels: list[Tensor]
    features: Tensor
    is_matched: Tensor

    @classmethod
    def draw(cls, size: int, feature_width: int, vocab_size: int) -> Pairs:
        """Return ``size`` random pairs."""
        generator = torch.Generator().manual_seed(0)
        lengths = caption_lengths(size)
        words = [torch.randint(MASK_ID + 1, vocab_size, (n,), generator=generator) for n in lengths]
        hidden = [torch.rand(n, generator=generator) < MASKED for n in lengths]
        return cls(
            [ids.masked_fill(h, MASK_ID) for ids, h in zip(words, hidden, strict=True)],
            [ids.masked_fill(~h, IGNORE) for ids, h in zip(words, hidden, strict=True)],
            torch.rand(size, REGIONS, feature_width, generator=generator),
            torch.rand(size, generator=generator) < 0.5,
        )

    def batch(self, indices: Sequence[int]) -> PretrainingBatch:
        """Return chosen pairs, padded to their longest caption."""
        ids = [self.input_ids[i] for i in indices]
        boxes = torch.tensor([0.1, 0.1, 0.6, 0.6]).expand(len(indices), REGIONS, 4)
        real = torch.ones(len(indices), REGIONS, dtype=torch.bool)
        features = self.features[list(indices)]
        inputs = Batch(pad(ids), lengths_mask(ids), torch.zeros_like(pad(ids)), features, boxes, real)
        labels = pad([self.labels[i] for i in indices], IGNORE)
        return PretrainingBatch(inputs, self.is_matched[list(indices)], labels)


def caption_lengths(size: int) -> list[int]:
    """Return pieces a caption, 12 on average and 26 at most."""
    drawn = SHIFT + np.random.default_rng(0).gamma(SHAPE, SCALE, size)
    return [int(length) for length in np.clip(np.round(drawn), SHORTEST, LONGEST)]


def measure(rounds: int | None = None) -> list[Goal]:
    """Return what a pass over the pairs costs, in float32 and in bfloat16."""
    pairs = Pairs.draw(POOL, FEATURE_WIDTH, VOCAB)
    has_bf16 = not BF16_FLAGS.isdisjoint(cpu_flags())
    contenders = {"peer": peer(pairs), "fp32": ours(pairs, None)}
    if has_bf16:
        contenders["bf16"] = ours(pairs, torch.bfloat16)
    times = interleave(contenders, rounds or ROUNDS)
    names = {dtype: f"pre-training step, {dtype} / VisualBertForPreTraining, fp32" for dtype in ("fp32", "bf16")}
    half = (
        Goal.of_ratio(names["bf16"], ratio(times, "bf16", "peer"), 0.30)
        if has_bf16
        else Goal(names["bf16"], float("nan"), 0.30, note="the CPU has neither AMX nor AVX512-BF16")
    )
    return [Goal.of_ratio(names["fp32"], ratio(times, "fp32", "peer"), 0.65), half]


def ours(
    pairs: Pairs, autocast: torch.dtype | None, size: str = "base", model: str = "visualbert", **sizes: Any
) -> partial[None]:
    """Return one pass of our training over ``pairs``; its first arguments are the module and the optimiser."""
    torch.manual_seed(0)
    width = pairs.features.shape[-1]
    encoder = build(model, size=size, feature_width=width, vocab_size=sizes.pop("vocab_size", VOCAB), **sizes)
    module = PretrainingModule(encoder, Bundle.from_config(objectives()), None, _optimizer()).train()
    optimizer = module.optimizer(module.parameters())
    order = TrainingOrder(len(pairs.features), BATCH_SIZE, seed=0, length=lambda index: len(pairs.input_ids[index]))
    batches = evenly([pairs.batch([place.index for place in places]) for places in order])

    def loss(batch: PretrainingBatch) -> Tensor:
        with nullcontext() if autocast is None else torch.autocast("cpu", autocast):
            encoding = encoder(batch.inputs)
            return torch.stack([o(encoding, batch, encoder) for _, o in module.named_objectives(batch)]).sum()

    return partial(train, module, optimizer, loss, batches)


def peer(pairs: Pairs, **config: Any) -> Callable[[], None]:
    """Return one pass of transformers' training over ``pairs``."""
    torch.manual_seed(0)
    width = pairs.features.shape[-1]
    model = transformers.VisualBertForPreTraining(
        transformers.VisualBertConfig(visual_embedding_dim=width, **{"vocab_size": VOCAB, **config})
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    starts = range(0, len(pairs.features), BATCH_SIZE)
    batches = evenly([pairs.batch(range(start, start + BATCH_SIZE)) for start in starts])

    def loss(batch: PretrainingBatch) -> Tensor:
        inputs = batch.inputs
        assert inputs.features is not None
        assert inputs.region_mask is not None
        nothing = torch.full(inputs.region_mask.shape, IGNORE)
        output = model(
            input_ids=inputs.input_ids,
            attention_mask=inputs.text_mask.long(),
            token_type_ids=inputs.token_types,
            visual_embeds=inputs.features,
            visual_attention_mask=inputs.region_mask.long(),
            visual_token_type_ids=torch.ones_like(nothing),
            labels=torch.cat([batch.text_labels, nothing], 1),
            sentence_image_labels=batch.is_matched.long(),
        )
        return output.loss

    return partial(train, model, optimizer, loss, batches)


def evenly(batches: list[PretrainingBatch]) -> list[PretrainingBatch]:
    """Return `NUM_BATCHES` of the batches, evenly spread over their lengths: on average they cost what all do."""
    by_length = sorted(batches, key=lambda batch: batch.inputs.input_ids.shape[1])
    step = len(batches) / NUM_BATCHES
    middles = [step * (k + 0.5) - 0.5 for k in range(NUM_BATCHES)]
    # rounded up and down in turn, which favours neither short nor long ones
    return [by_length[math.ceil(middle) if k % 2 else math.floor(middle)] for k, middle in enumerate(middles)]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[PretrainingBatch], Tensor],
    batches: Sequence[PretrainingBatch],
    clip: float = CLIP,
) -> None:
    """Step once for each of the batches, gradients clipped to the norm ``clip``."""
    for batch in batches:
        optimizer.zero_grad()
        loss(batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()


def objectives() -> dict[str, Any]:
    """Return masked words and matching, summed."""
    parts = {name: {"weight": 1, "module": read_option("objective/part", name)} for name in ("mlm", "itm")}
    return {"combine": "sum", "parts": parts}


def cpu_flags() -> set[str]:
    """Return what the processor says it can do; nothing where it cannot be asked."""
    if not CPU_INFO.is_file():
        return set()
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _optimizer() -> Any:
    tree = resolve({"optimizer": read_option("optimizer", "adamw"), "size": read_option("size", "base")})
    return instantiate(tree["optimizer"], _key_="optimizer")
