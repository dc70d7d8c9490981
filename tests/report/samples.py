"""Runs as the commands write them, small and made up, for the tests of the report."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vlp.results import Record, Row, Subject, link_cell, write_results

TRAINED = Subject("uniter", "tiny", "last-1a2b3c4d", "scenes", "pretraining", "", 0)
NMI = Subject("uniter", "tiny", "last-1a2b3c4d", "scenes", "nmi", "", 0)
HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)>'
RUN = {
    "command": "python probe.py probe=nmi model=uniter",
    "content_hash": "f" * 64,
    "device": "a processor",
    "finished": True,
    "git_commit": "0123456789abcdef0123456789abcdef01234567",
    "peak_memory_bytes": 900 * 2**20,
    "seed": 0,
    "versions": {"python": "3.11.7", "torch": "2.15.0"},
    "wall_time_s": 64.2,
    "weights_sha256": "1a2b3c4d" * 8,
}


def row(condition: str, metric: str, value: float, half: float | None = None, n: int = 1024, **more: Any) -> Row:
    """Return a row with an interval of ``value`` plus and minus ``half``, rounded so that ends can meet exactly."""
    ends = {} if half is None else {"ci_low": round(value - half, 6), "ci_high": round(value + half, 6)}
    return Row(condition, metric, value, n, **ends, **more)


def pretraining_rows() -> list[Row]:
    """Return what the probe of the pre-training heads finds in a model that uses the image."""
    losses = {"model": (1.524, 2.311, 0.787), "random_weights": (7.9, 7.91, 0.004)}
    words = [
        row(condition, "bits", value, 0.06, label="masked_words", parameter=f"image={image}")
        for condition, values in losses.items()
        for image, value in zip(("own", "mean", "mean-own"), values, strict=True)
    ]
    return [
        row("model", "accuracy", 0.9214, 0.0165, label="itm"),
        row("random_weights", "accuracy", 0.5029, 0.0306, label="itm"),
        row("majority", "accuracy", 0.5, label="itm"),
        *words,
    ]


NMI_BY_LAYER = {
    "model": (0.96, 0.61, 0.42, 0.28, 0.214),
    "random_weights": (0.97, 0.985, 0.983, 0.982, 0.981),
    "shuffled": (0.012, 0.011, 0.013, 0.012, 0.012),
}


def nmi_rows(conditions: Iterable[str] = NMI_BY_LAYER, half: float = 0.015) -> list[Row]:
    """Return NMI of the embedding output and four layers."""
    return [
        row(condition, "nmi", value, min(half, value), n=512, stage="joint", layer=layer)
        for condition in conditions
        for layer, value in enumerate(NMI_BY_LAYER[condition])
    ]


def records(subject: Subject, rows: Sequence[Row]) -> list[Record]:
    """Return ``rows`` as lines of a table."""
    return [Record.of(subject, each) for each in rows]


def write_cell(folder: Path, subject: Subject, rows: Sequence[Row], **run: Any) -> Path:
    """Write a probe cell and return its folder."""
    folder.mkdir(parents=True)
    write_results(folder / "results.csv", subject, rows)
    (folder / "run.json").write_text(json.dumps({**RUN, **run}), "utf-8")
    return folder


def write_sweep(folder: Path, cells: Sequence[Path]) -> Path:
    """Write a sweep's directory: links to its cells; the gathered table is the caller's to make."""
    folder.mkdir(parents=True)
    for cell in cells:
        link_cell(cell, folder)
    return folder


def write_training(folder: Path, steps: int = 2000, layers: int = 5, **run: Any) -> Path:
    """Write a training run whose model starts to use the image at two thirds of its steps."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    lines = [_training_line(step) for step in range(9, steps, 10)]
    lines += [_validation_line(step, steps, layers) for step in range(0, steps + 1, steps // 20)]
    columns = sorted({name for line in lines for name in line})
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(sorted(lines, key=lambda line: line["step"]))
    (folder / "run.json").write_text(
        json.dumps({**RUN, "command": "python train.py experiment=scenes", **run}), "utf-8"
    )
    return folder


def _training_line(step: int) -> dict[str, float]:
    words = 1.2 + 4.0 * math.exp(-step / 250) + 0.15 * math.sin(step)
    pairs = 0.69 * _before(step / 2000) + 0.2 + 0.05 * math.sin(step * 1.7)
    return {"step": step, "epoch": 0, "train/loss": words + pairs, "train/mlm": words, "train/itm": pairs}


def _validation_line(step: int, steps: int, layers: int) -> dict[str, float]:
    blind = 1.55 + 4.0 * math.exp(-step / 250)
    line = {
        "step": step,
        "epoch": 0,
        "val/mlm": blind - 0.55 * (1 - _before(step / steps)),
        "val/mlm_mean_image": blind,
        "val/mlm_baseline": 3.1,
        "val/itm": 0.2 + 0.49 * _before(step / steps),
        "val/itm_accuracy": 0.92 - 0.42 * _before(step / steps),
        "val/itm_majority": 0.5,
    }
    return line | {
        f"val/nmi_layer_{layer}": 0.98 - (1 - _before(step / steps)) * 0.19 * layer for layer in range(layers)
    }


def _before(progress: float) -> float:
    """Return 1 before the transition and 0 after it."""
    return 1 / (1 + math.exp(25 * (progress - 0.66)))


LINKS = {
    "attention": {"model": 0.88, "random_weights": 0.57, "control_task": 0.53},
    "embedding": {"model": 0.95, "random_weights": 0.9, "control_task": 0.6},
}
"""Accuracies of the probe ``vcd`` on scenes, where states of random weights tell most links."""

WITHOUT_MODEL = {"phrase_only": 0.51, "region_only": 0.5}

LAYERS = {"uniter": ("joint", 4), "lxmert": ("cross", 2)}


def prober_rows(prober: str, model: str = "uniter") -> list[Row]:
    """Return what a trained prober finds: the mean over two prober seeds, and each; of states layer by layer."""
    stage, depth = LAYERS[model]
    rows = [row("chance", "accuracy", 0.5), row("majority", "accuracy", 0.5, 0.01)]
    rows += [each for name, value in WITHOUT_MODEL.items() for each in _of_seeds(name, "accuracy", value)]
    for layer in [None] if prober == "attention" else range(depth + 1):
        place = {"stage": "" if layer is None else stage, "layer": layer}
        growth = 0.0 if layer is None else 0.02 * (layer - depth)
        found = {**LINKS[prober], "model": LINKS[prober]["model"] + growth}
        rows += [each for name, value in found.items() for each in _of_seeds(name, "accuracy", value, **place)]
        rows += _of_seeds("model", "balanced_accuracy", found["model"] - 0.01, **place)
        rows.append(row("random_weights", "balanced_accuracy", found["random_weights"], 0.015, n=900, **place))
        rows += [
            row("model", "accuracy_gain", found["model"] - other, 0.02, n=900, parameter=f"over={name}", **place)
            for name, other in {**found, **WITHOUT_MODEL}.items()
            if name != "model"
        ]
        rows.append(row("model", "p_value", 0.002, n=900, parameter="over=random_weights", **place))
        rows += [row("model", "recall", found["model"], 0.03, n=450, label=name, **place) for name in ("linked", "not")]
    return rows


def _of_seeds(condition: str, metric: str, value: float, **place: Any) -> list[Row]:
    """Return the mean over two prober seeds, and each."""
    seeds = ((None, 0.0), (0, -0.005), (1, 0.005))
    return [row(condition, metric, value + by, 0.015, n=900, prober_seed=seed, **place) for seed, by in seeds]


def write_probers(folder: Path) -> list[Path]:
    """Write the four cells of ``vcd``: two probers, two models."""
    cells = [(prober, model) for prober in LINKS for model in LAYERS]
    return [
        write_cell(
            folder / f"{prober}-{model}",
            Subject(model, "tiny", f"{model}-1a2b3c4d", "scenes", "vcd", prober, 0),
            prober_rows(prober, model),
        )
        for prober, model in cells
    ]
