"""Speed and accuracy of NMI, beside a loop over scikit-learn's KMeans."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from benchmarks.goals import Goal
from benchmarks.passes import RESTARTS, clusters, scikit_learn_nmi
from benchmarks.subjects import Tokens, our_bert, their_bert
from benchmarks.timing import interleave, ratio
from vlp.metrics.nmi import centred_gram, label_agreement, lloyd, normalized_mutual_information, two_means
from vlp.observe.recording import record

# Axes: L layers, B samples, S tokens, D width.

LENGTH = 56
ROUNDS = 7
SEEDS = (0, 1, 2)
AGREES = 1e-12
PARTED = 0.8


def measure(rounds: int | None = None) -> list[Goal]:
    """Return how much faster NMI of 13 layers x 16 samples is, and how far it is from scikit-learn's."""
    tokens = Tokens.draw(LENGTH)
    states = list(record(our_bert(their_bert("sdpa")), tokens.batch).hidden.values())
    everything = Tokens(tokens.ids, tokens.is_vision, torch.ones_like(tokens.content))
    stacked = torch.cat(states), everything.is_vision.repeat(len(states), 1), everything.content.repeat(len(states), 1)
    contenders = {
        "scikit-learn": lambda: scikit_learn_nmi(states, everything),
        "ours": lambda: normalized_mutual_information(*stacked, num_restarts=RESTARTS),
    }
    speed = ratio(interleave(contenders, rounds or ROUNDS), "scikit-learn", "ours")
    name = "NMI of 13 x 16 samples: scikit-learn's loop / ours"
    faster = Goal(name, speed.median, 50, at_least=True, best=speed.best, is_disturbed=speed.is_disturbed)
    return [faster, *accuracy(*stacked), agreement(*parted(*stacked))]


def accuracy(hidden: Tensor, is_vision: Tensor, mask: Tensor) -> list[Goal]:
    """Return how our values and clusters differ from scikit-learn's, beside how it differs from itself."""
    ours = normalized_mutual_information(hidden, is_vision, mask, RESTARTS).numpy()
    fits = [[clusters(sample, seed) for sample in hidden] for seed in SEEDS]
    theirs = np.array([[_score(v, fit.labels_) for v, fit in zip(is_vision, each, strict=True)] for each in fits])
    own = np.mean([np.abs(a - b).mean() for a, b in itertools.combinations(theirs, 2)])
    difference = np.abs(theirs - ours).mean()
    inertia = two_means(hidden, mask, RESTARTS).inertia.mean().item() / np.mean([[f.inertia_ for f in e] for e in fits])
    return [
        Goal("NMI: difference from scikit-learn / its own between seeds", difference / own if own else 0.0, 1.25),
        Goal("NMI: inertia / scikit-learn's", inertia, 1.0),
        Goal("NMI: labels that differ from the same starts", _differing_labels(hidden, mask), 0),
        Goal("NMI: difference at equal labels", _same_label_difference(fits[0], is_vision, mask, theirs[0]), 1e-12),
    ]


def parted(hidden: Tensor, is_vision: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same with modalities moved apart by about as much as tokens lie apart, so that clusters are clear."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(
        torch.randn(len(hidden), 1, hidden.shape[-1], generator=generator), dim=-1
    )
    spread = hidden.std(1, keepdim=True).norm(dim=-1, keepdim=True)
    return hidden + PARTED * spread * directions * is_vision[..., None], is_vision, mask


def agreement(hidden: Tensor, is_vision: Tensor, mask: Tensor) -> Goal:
    """Return how far our values are from scikit-learn's on samples where its seeds agree."""
    fits = [[clusters(sample, seed) for sample in hidden] for seed in SEEDS]
    theirs = np.array([[_score(v, fit.labels_) for v, fit in zip(is_vision, each, strict=True)] for each in fits])
    agrees = np.ptp(theirs, axis=0) <= AGREES
    ours = normalized_mutual_information(hidden, is_vision, mask, RESTARTS).numpy()
    difference = np.abs(theirs[0] - ours)[agrees].mean() if agrees.any() else float("nan")
    note = f"{agrees.mean():.0%} of samples with parted modalities"
    return Goal("NMI: difference where scikit-learn agrees with itself", difference, 0.001, note=note)


def _differing_labels(hidden: Tensor, mask: Tensor) -> float:
    generator = torch.Generator().manual_seed(0)
    starts = torch.stack([torch.randperm(hidden.shape[1], generator=generator)[:2] for _ in hidden])
    labels, _ = lloyd(centred_gram(hidden, mask)[0], mask, starts[:, None])
    theirs = [
        KMeans(2, init=sample[start].numpy(), n_init=1, tol=0).fit(sample.numpy()).labels_
        for sample, start in zip(hidden, starts, strict=True)
    ]
    return float((labels[:, 0].numpy() != np.stack(theirs)).sum())


def _same_label_difference(fits: list[KMeans], is_vision: Tensor, mask: Tensor, values: np.ndarray) -> float:
    labels = torch.from_numpy(np.stack([fit.labels_ for fit in fits])).bool()
    return float(np.abs(label_agreement(labels, is_vision, mask).numpy() - values).max())


def _score(modality: Tensor, labels: np.ndarray) -> float:
    return float(normalized_mutual_info_score(modality, labels))
