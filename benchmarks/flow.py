"""Time and peak of measuring the flow between all 78 pairs of layers, beside a plain forward and beside stored maps."""

from __future__ import annotations

import os
from functools import partial

from benchmarks.goals import Goal
from benchmarks.memory import CLEAR, gpu_growth, in_fresh_process
from benchmarks.passes import plain, stored_flow, streamed_flow
from benchmarks.subjects import BATCH_SIZE, Tokens, our_bert, their_bert
from benchmarks.timing import Contenders, batches_on, clock_of, interleave, ratio
from vlp.models import VLEncoder

LENGTH = 56
MEMORY_LENGTHS = (56, 112, 224)
ROUNDS = 7


def measure(rounds: int | None = None, device: str = "cpu") -> list[Goal]:
    """Return what the flow costs."""
    tokens = Tokens.draw(LENGTH, BATCH_SIZE * batches_on(device)).to(device)
    fused, eager = their_bert("sdpa"), their_bert("eager").to(device)
    ours = our_bert(fused).to(device)
    fused = fused.to(device)
    contenders: Contenders = {
        "flow": partial(streamed_flow, ours, tokens),
        "plain forward": partial(plain, ours, tokens),
        "their forward": partial(plain, fused, tokens),
        "stored": partial(stored_flow, eager, tokens),
    }
    times = interleave(contenders, rounds or ROUNDS, clock_of(device))
    return [
        Goal.of_ratio("flow of 78 pairs / plain forward", ratio(times, "flow", "plain forward"), 1.02),
        Goal.of_ratio("flow of 78 pairs / transformers' SDPA forward", ratio(times, "flow", "their forward"), 1.02),
        Goal.of_ratio("flow of 78 pairs / from stored maps", ratio(times, "flow", "stored"), 1),
        *(peaks() if device == "cpu" else gpu_peaks(ours, tokens)),
    ]


def peaks() -> list[Goal]:
    """Return the peak of measuring beside that of our plain forward."""
    if not os.access(CLEAR, os.W_OK):
        return [Goal("peak of flow / plain forward", float("nan"), 1.5, note=f"{CLEAR} is not writable here")]
    return [
        Goal(
            f"peak at {length} tokens: flow / plain",
            in_fresh_process("flow", length) / in_fresh_process("plain", length),
            1.5,
        )
        for length in MEMORY_LENGTHS
    ]


def gpu_peaks(model: VLEncoder, tokens: Tokens) -> list[Goal]:
    """Return the same on a GPU, where a peak is that of tensors and needs no fresh process."""
    grown = [gpu_growth(partial(run, model, tokens)) for run in (streamed_flow, plain)]
    return [Goal(f"peak at {LENGTH} tokens: flow / plain", grown[0] / grown[1], 1.5)]
