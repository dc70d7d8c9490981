"""How far text and vision lie apart, layer by layer (VALUE section 4.1 and table 1; VisualParsing figure 5)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlp.data.collate import ProbeBatch
from vlp.data.sample import Sample
from vlp.metrics.estimates import Estimate, SampleMean
from vlp.metrics.nmi import cluster_agreement, two_means
from vlp.models.encoder import VLEncoder
from vlp.observe.reductions import MeetingStates, meeting_layers
from vlp.probes.base import Probe, estimated_row, unusual
from vlp.probes.modalities import EXCLUDE, check_specials, counted_tokens
from vlp.results import Row

# Axes: B samples, S tokens of both modalities, L layers.

log = logging.getLogger(__name__)

CONDITIONS = ("model", "random_weights", "shuffled")


class NMIProbe(Probe):
    """Normalised mutual information of 2-means clusters and modality, after every layer in which the modalities meet.

    Tokens are word pieces and real regions, patches or cells; [CLS], [SEP] and what stands for the whole image change
    the number and are left out unless asked for. Single-stream models report every layer and, as layer 0, the embedding
    output; dual-stream ones their cross layers.

    Rows ``nmi``: conditions ``model``, ``random_weights`` (the top of the scale rather than its bottom, since an
    untrained model leaves the modalities apart) and ``shuffled`` (modalities permuted among a sample's tokens: chance).
    Rows ``share`` with label ``smaller_cluster``: the part of the tokens in the smaller cluster, since a few outlying
    ones that take a cluster of their own give an NMI near 0 without any fusion. ``parameter`` is ``specials=text``
    where those count.

    Args:
        encoder: the model in question.
        control: the same architecture with random weights.
        seed: of k-means and of the shuffled modalities.
        needs: annotations the data must have.
        num_restarts: k-means++ starts.
        specials: whether [CLS] and [SEP] count as ``text``, and what stands for the whole image as vision, or are left
            out (``exclude``).

    Raises:
        ValueError: if text and vision meet in no layer, as in a text-only model.
    """

    def __init__(
        self,
        encoder: VLEncoder,
        control: VLEncoder,
        seed: int = 0,
        needs: Iterable[str] = (),
        num_restarts: int = 10,
        specials: str = EXCLUDE,
    ) -> None:
        super().__init__(encoder, control, seed, needs)
        check_specials(specials)
        self.layers = meeting_layers(encoder.sites)
        self.num_restarts, self.specials = num_restarts, specials
        self.parameter = unusual({"specials": specials}, {"specials": EXCLUDE})
        self.agreement = SampleMean((len(CONDITIONS), len(self.layers)))
        self.smaller = SampleMean((2, len(self.layers)))

    @classmethod
    def check_encoder(cls, encoder: VLEncoder, needs: Iterable[str], probe: str) -> None:
        """Refuse a model in which text and vision meet in no layer as well."""
        super().check_encoder(encoder, needs, probe)
        try:
            meeting_layers(encoder.sites)
        except ValueError as error:
            raise ValueError(f"probe nmi cannot be put to model {encoder.name}: {error}") from None

    def test_step(self, batch: ProbeBatch, batch_idx: int) -> None:
        """Cluster the states of every layer in one pass of each encoder."""
        is_vision, mask = counted_tokens(self.encoder, batch, self.layers[0], self.specials)
        permuted = shuffled_modalities(is_vision, mask, batch.samples, self.seed)
        observed, shuffled, share = self._measure(self.encoder, batch, (is_vision, permuted), mask)
        untrained, untrained_share = self._measure(self.control, batch, (is_vision,), mask)
        self.agreement.update(torch.stack([observed, untrained, shuffled], dim=1))
        self.smaller.update(torch.stack([share, untrained_share], dim=1))

    def results(self) -> list[Row]:
        """Return a row for each condition and layer."""
        agreement = self.agreement.estimate()
        if skipped := int(agreement.skipped.max()):
            log.warning("nmi: skipped %d samples with tokens of one modality only, or without spread", skipped)
        return [*self._rows_of("nmi", agreement), *self._rows_of("share", self.smaller.estimate(), "smaller_cluster")]

    def _measure(
        self, encoder: VLEncoder, batch: ProbeBatch, labellings: Sequence[Tensor], mask: Tensor
    ) -> tuple[Tensor, ...]:
        """Return (B, L) for each labelling, the clusters' agreement with it, and last the smaller cluster's share."""

        def reduce(states: Tensor) -> Tensor:
            clusters = two_means(states, mask, self.num_restarts, self.seed)
            values = [cluster_agreement(clusters, labels, mask) for labels in labellings]
            second, tokens = clusters.labels.sum(-1), mask.sum(-1)
            share = torch.minimum(second, tokens - second).to(values[0]) / tokens
            return torch.stack([*values, share.where(values[0].isfinite(), torch.nan)])

        observer = MeetingStates(self.layers, reduce)
        encoder(batch.inputs, observers=[observer])
        return torch.stack(observer.take(), dim=-1).unbind()

    def _rows_of(self, metric: str, estimate: Estimate, label: str = "") -> list[Row]:
        conditions = CONDITIONS[: len(estimate.value)]
        places = [(c, layer) for c in range(len(conditions)) for layer in range(len(self.layers))]
        return [
            estimated_row(conditions[c], metric, estimate, (c, layer), label=label, **self._columns(layer))
            for c, layer in places
        ]

    def _columns(self, index: int) -> dict[str, Any]:
        site = self.layers[index][0]
        return {"stage": site.stage, "query": "joint", "layer": site.layer + 1, "parameter": self.parameter}


def shuffled_modalities(is_vision: Tensor, mask: Tensor, samples: Sequence[Sample], seed: int) -> Tensor:
    """Return (B, S) bool: modalities permuted among the tokens that ``mask`` counts, a sample's permutation its own.

    It depends on the seed and the sample, not on the batch or the padding.
    """
    order = torch.full(mask.shape, torch.inf, dtype=torch.float64)
    for row, counted, sample in zip(order, mask.cpu(), samples, strict=True):
        digest = hashlib.sha256(f"{seed}|{sample.image_id}|{sample.sample_id}|{sample.caption}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        row[counted] = torch.from_numpy(generator.random(int(counted.sum())))
    rank = order.argsort(-1).argsort(-1).to(mask.device)
    return (rank < (is_vision & mask).sum(-1, keepdim=True)) & mask
