"""SOHO's visual dictionary: features that look alike share an entry, which follows their mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Axes: N features, K entries, D width.


class VisualDictionary(nn.Module):
    """Nearest entries, kept as moving averages of the features that chose them (Huang et al., CVPR 2021, section 3.2).

    Entries are no parameters: in training each follows the mean of what was assigned to it, over all processes.
    Gradients pass to the features as if nothing had been looked up. Counts begin at 1; the released code begins them at
    0, which throws every entry that the first step does not choose out of reach for ever.

    Args:
        entries: K.
        width: D.
        momentum: share of the old average that a step keeps. The paper has 0.99; the released code 0.4, since the ramp
            that should raise it is never called.
        eps: of the counts' smoothing.

    Raises:
        ValueError: if ``momentum`` is not in [0, 1).
    """

    entries: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, entries: int, width: int, momentum: float = 0.99, eps: float = 1e-5) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum}: expected a share in [0, 1)")
        self.momentum, self.eps = momentum, eps
        self.register_buffer("entries", torch.randn(entries, width))
        self.register_buffer("counts", torch.ones(entries))
        self.register_buffer("sums", self.entries.clone())

    def __len__(self) -> int:
        """Return the number of entries K."""
        return len(self.entries)

    def forward(self, features_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest entry of each feature, (N, D), and its number (N,); in training, then move the entries."""
        numbers_N = self.nearest(features_ND.detach())
        found_ND = self.entries[numbers_N].to(features_ND.dtype)
        if self.training and torch.is_grad_enabled():
            self._follow(features_ND.detach(), numbers_N)
        return features_ND + (found_ND - features_ND).detach(), numbers_N

    def nearest(self, features_ND: Tensor) -> Tensor:
        """Return the number (N,) of the entry nearest to each feature."""
        with torch.autocast(features_ND.device.type, enabled=False):
            features_ND = features_ND.float()
            return (self.entries.square().sum(1) - 2 * features_ND @ self.entries.float().T).argmin(dim=1)

    @torch.no_grad()
    def _follow(self, features_ND: Tensor, numbers_N: Tensor) -> None:
        counts_K = torch.zeros_like(self.counts).index_add_(
            0, numbers_N, torch.ones_like(numbers_N, dtype=torch.float32)
        )
        sums_KD = torch.zeros_like(self.sums).index_add_(0, numbers_N, features_ND.float())
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts_K)
            torch.distributed.all_reduce(sums_KD)
        self.counts.lerp_(counts_K, 1 - self.momentum)
        self.sums.lerp_(sums_KD, 1 - self.momentum)
        total = self.counts.sum()
        smoothed_K = (self.counts + self.eps) / (total + len(self) * self.eps) * total
        self.entries.copy_(self.sums / smoothed_K[:, None])
