"""Whether the heads of a checkpoint behave: fed the wrong features a model raises nothing, it answers as if blind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from vlp.data.dataset import VLDataset
from vlp.data.tokenisation import CaptionTokenizer
from vlp.doctor.findings import FAILED, NOTE, OK, Finding
from vlp.models import VLEncoder
from vlp.probes.pretraining_heads import NothingToAskError, PretrainingProbe
from vlp.results import Row

SAMPLES = 64
"""Enough to tell a trained head from guessing, and a minute's work for a model of base size on two processors."""

HALF = 0.5
"""Accuracy of guessing whether caption and image belong together."""

MARGIN = 0.05
"""How far below what guessing gives a model has to be, in accuracy or bits, that this is no accident of a few pairs."""

DAMAGED = "take another copy of the weights: a probe refuses these heads"
SUSPICIOUS = "are these the features, boxes and captions that the weights were trained on?"


def examine_heads(
    encoder: VLEncoder, control: VLEncoder, weights: Path, dataset: VLDataset, tokenizer: CaptionTokenizer
) -> Iterator[Finding]:
    """Yield how well matching and hidden words are told on the first `SAMPLES` samples, by `PretrainingProbe`.

    Args:
        encoder: with the weights loaded.
        control: the same architecture with random weights.
        weights: the checkpoint, ours or released, which may lack a head or both, or a part of one; lines say which.
        dataset: with what the model reads of an image, whose features fit the encoder.
        tokenizer: the encoder's.
    """
    try:
        probe = PretrainingProbe(encoder, control, weights=weights, max_samples=SAMPLES, strict=False)
    except NothingToAskError as error:
        yield Finding(NOTE, "behaviour", f"not tried: {error}")
        return
    except ValueError as error:
        yield Finding(FAILED, "behaviour", f"not tried: {error}", DAMAGED)
        return
    for name, missing in probe.lacking.items():
        yield Finding(FAILED, f"head {name}", f"not whole in {weights}, without {', '.join(missing)}", DAMAGED)
    with torch.inference_mode():
        for index, batch in enumerate(probe.loader(dataset, tokenizer, batch_size=16)):
            probe.test_step(batch, index)
    rows = {(row.condition, row.metric, row.parameter): row for row in probe.results()}
    if probe.matching is not None:
        matching, majority = (rows[condition, "accuracy", ""] for condition in ("model", "majority"))
        told = f"{_interval(matching)} of {matching.n} pairs told right, the majority {majority.value:.2f}"
        yield judged("matching", told, matching, HALF)
    elif "itm" not in probe.lacking:
        yield _not_asked("matching", weights, "itm")
    if probe.words is not None:
        own, without, worth = (rows["model", "bits", f"image={image}"] for image in ("own", "mean", "mean-own"))
        told = f"{own.value:.2f} bits a hidden word, {without.value:.2f} with the mean image, {_interval(worth)} more"
        yield judged("hidden words", told, worth, 0.0)
    elif "mlm" not in probe.lacking:
        yield _not_asked("hidden words", weights, "mlm")


def _not_asked(subject: str, weights: Path, head: str) -> Finding:
    return Finding(NOTE, subject, f"not asked: {weights} has no head of {head}")


def judged(subject: str, told: str, row: Row, bound: float) -> Finding:
    """Return a finding: ok where the interval lies above ``bound``, failed clearly below it, else suspicious."""
    low, high = row.ci_low, row.ci_high
    if low is not None and low > bound:
        return Finding(OK, subject, told)
    if high is not None and high < bound - MARGIN:
        return Finding(FAILED, subject, f"{told}; worse than without looking", SUSPICIOUS)
    return Finding(NOTE, subject, f"{told}; suspicious: no better than without looking", SUSPICIOUS)


def _interval(row: Row) -> str:
    ends = "" if row.ci_low is None else f" [{row.ci_low:.2f}, {row.ci_high:.2f}]"
    return f"{row.value:.2f}{ends}"
