"""Control tasks: what a prober learns by heart, to set beside what it reads from the model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def control_labels(pair_type: Tensor, label: Tensor, seed: int = 0) -> Tensor:
    """Return a random label (N,) for each type of pair, the same for all pairs of a type.

    A prober can learn these only by telling types apart and remembering; its accuracy on the true labels above that on
    these is its selectivity. After Hewitt and Liang, "Designing and Interpreting Probes with Control Tasks", EMNLP
    2019, section 2. Labels are drawn with the frequencies of the true ones, so that both tasks have about the same
    majority.

    Args:
        pair_type: (N,) long, from 0; a type's label does not depend on which others there are.
        label: (M,) long, the true labels of the training items.
        seed: of the labels.
    """
    frequency = np.bincount(label.numpy()).cumsum() / len(label)
    drawn = np.random.default_rng(seed).random(int(pair_type.max()) + 1)
    of_type = np.searchsorted(frequency, drawn, side="right")
    return torch.from_numpy(of_type)[pair_type]
