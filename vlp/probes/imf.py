"""What flows between text and vision over the layers (VisualParsing section 3.3, table 5, figures 3 and 4)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlp.data.collate import ProbeBatch, collate_probe
from vlp.data.dataset import VLDataset, other_image
from vlp.data.loading import EveryBatch, ProbeBatches, whole_batches
from vlp.data.ordering import Place
from vlp.data.sample import Sample
from vlp.data.tokenisation import CaptionTokenizer
from vlp.metrics.estimates import Estimate, SampleMean
from vlp.metrics.flow import PAIR_REDUCTIONS, SUM, flow_between_groups, uniform_paths
from vlp.models.cost import parser_cost
from vlp.models.encoder import VLEncoder
from vlp.models.observation import ROW_SUM_TOLERANCE, CaptureError, Site
from vlp.observe.reductions import GroupPaths
from vlp.probes.base import Probe, estimated_row, unusual
from vlp.probes.modalities import TEXT, check_specials, counted_tokens, real_tokens
from vlp.results import Row

# Axes: B samples, S tokens of both modalities, P paths, G groups of tokens: text, vision, and what does not count.

log = logging.getLogger(__name__)

CONDITIONS = ("model", "random_weights", "mismatched")
UNIFORM = "uniform"
FIRST, ALL = "first", "all"
ACCUMULATED, LAYER, PATH = "accumulated", "layer", "path"


@dataclass
class FlowBatch:
    """Pairs as the data has them, and the same images each with the caption of another.

    ``is_matched`` is (B,) bool: whether the caption is true of the image.
    """

    matched: ProbeBatch
    mismatched: ProbeBatch
    is_matched: Tensor

    def __len__(self) -> int:
        """Return the number of images B."""
        return len(self.matched)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> FlowBatch:
        """Return the batch with the inputs on ``device``."""
        matched = self.matched.to(device, non_blocking)
        texts = self.mismatched.to(device, non_blocking)
        return FlowBatch(matched, texts, self.is_matched.to(device, non_blocking=non_blocking))


class InterModalityFlowProbe(Probe):
    """Inter-modality flow of a model with one stream: F(1, j) up to every layer j, and F(i, i) of every layer alone.

    F(i, j) is the share, of all attention followed from layer j back to layer i, that crosses between text and vision:
    each sample's ratio first, then the mean over samples whose caption is true of their image. Nothing of the inputs is
    masked; padding changes nothing. What a visual parser does within itself is no part of it.

    Rows ``flow`` and ``flow_over_uniform`` (F over what uniform attention gives with a sample's own numbers of tokens,
    which move F more than models do): ``layer`` is j, with label ``accumulated`` for F(1, j) and ``layer`` for F(j, j);
    label ``path`` and parameter ``first=i`` for every pair where ``pairs`` is ``all``. Conditions ``model``,
    ``random_weights``, ``mismatched`` (each image with the caption of another); ``uniform`` is what uniform attention
    gives. Rows ``flow_change`` with label ``layer``: F(j, j) minus F(j - 1, j - 1), sample by sample. Rows ``tokens``
    with label ``text`` (n) and ``vision`` (m): the mean number that counts. In all of these ``parameter`` names options
    that are not the usual ones, as ``specials=exclude``. Of a model with a visual parser, rows
    ``multiply_accumulates`` and ``parameters`` with label ``visual_parser``: what it costs an image, counted as papers
    do, with the classifier of its own training.

    Args:
        encoder: the model in question.
        control: the same architecture with random weights.
        seed: of the mismatched pairs.
        needs: annotations the data must have.
        specials: whether [CLS] and [SEP] count as ``text``, and what stands for the whole image as vision, or
            ``exclude``: paths go through them, and they do not count.
        pair_reduction: ``sum`` over pairs of tokens, as printed, or ``mean``.
        pairs: ``first`` for paths from the first layer and of one layer, ``all`` for all.

    Raises:
        ValueError: if the model has no layer in which all tokens attend to all, or an option is none.
    """

    def __init__(
        self,
        encoder: VLEncoder,
        control: VLEncoder,
        seed: int = 0,
        needs: Iterable[str] = (),
        specials: str = TEXT,
        pair_reduction: str = SUM,
        pairs: str = FIRST,
    ) -> None:
        super().__init__(encoder, control, seed, needs)
        self.sites = joint_sites(encoder)
        check_specials(specials)
        if pair_reduction not in PAIR_REDUCTIONS:
            raise ValueError(f"pair_reduction={pair_reduction!r}: expected {' or '.join(PAIR_REDUCTIONS)}")
        if pairs not in (FIRST, ALL):
            raise ValueError(f"pairs={pairs!r}: expected {FIRST} or {ALL}")
        self.specials, self.pair_reduction, self.every_start = specials, pair_reduction, pairs == ALL
        chosen = {"specials": specials, "pair_reduction": pair_reduction}
        self.parameter = unusual(chosen, {"specials": TEXT, "pair_reduction": SUM})
        count = len(self.sites)
        self.paths = [(i, j) for j in range(1, count + 1) for i in range(1, j + 1) if self.every_start or i in (1, j)]
        self.single = [self.paths.index((layer, layer)) for layer in range(1, count + 1)]
        self.flow = SampleMean((len(CONDITIONS), len(self.paths)))
        self.over_uniform = SampleMean((len(CONDITIONS), len(self.paths)))
        self.uniform = SampleMean((len(self.paths),))
        self.change = SampleMean((len(CONDITIONS), count - 1))
        self.tokens = SampleMean((2,))

    @classmethod
    def check_encoder(cls, encoder: VLEncoder, needs: Iterable[str], probe: str) -> None:
        """Refuse a model without layers in which all tokens attend to all as well."""
        super().check_encoder(encoder, needs, probe)
        joint_sites(encoder)

    def loader(
        self, dataset: VLDataset, tokenizer: CaptionTokenizer, batch_size: int, num_workers: int = 0
    ) -> DataLoader[Any]:
        """Return every sample once, beside its image with the caption of another."""
        encoder = self.encoder
        pairs = ProbeBatches(dataset, tokenizer, encoder.max_positions, encoder.pixel_input)
        return whole_batches(_FlowBatches(pairs, self.seed), EveryBatch(len(dataset), batch_size), num_workers)

    def test_step(self, batch: FlowBatch, batch_idx: int) -> None:
        """Follow attention in one pass of each encoder, and one with mismatched pairs."""
        passes = ((self.encoder, batch.matched), (self.control, batch.matched), (self.encoder, batch.mismatched))
        found = [self._measure(encoder, pairs, batch.is_matched) for encoder, pairs in passes]
        flow, uniform, tokens = (torch.stack(parts, dim=1) for parts in zip(*found, strict=True))
        self.flow.update(flow)
        self.over_uniform.update(flow / uniform)
        self.uniform.update(uniform[:, 0])
        self.change.update(flow[..., self.single].diff(dim=-1))
        self.tokens.update(tokens[:, 0])

    def results(self) -> list[Row]:
        """Return a row for each metric, condition and path."""
        flow = self.flow.estimate()
        if skipped := int(flow.skipped[0].max()):
            log.warning("imf: skipped %d samples that are no pairs, or have tokens of one modality only", skipped)
        over_uniform, change = self.over_uniform.estimate(), self.change.estimate()
        uniform, tokens = self.uniform.estimate(), self.tokens.estimate()
        rows = []
        for index, name in enumerate(CONDITIONS):
            rows += self._rows_of(name, "flow", _entry(flow, index))
            rows += self._rows_of(name, "flow_over_uniform", _entry(over_uniform, index))
            rows += [
                estimated_row(name, "flow_change", change, (index, place), label=LAYER, **self._columns(place + 2))
                for place in range(len(self.sites) - 1)
            ]
        rows += self._rows_of(UNIFORM, "flow", uniform)
        rows += [
            estimated_row("model", "tokens", tokens, place, label=label, parameter=self.parameter)
            for place, label in enumerate(("text", "vision"))
        ]
        return rows + parser_rows(self.encoder)

    def _measure(self, encoder: VLEncoder, batch: ProbeBatch, is_matched: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return flow (B, P), the flow of uniform attention (B, P), and the numbers of tokens (B, 2)."""
        groups = flow_groups(encoder, batch, self.sites[0], self.specials)
        observer = GroupPaths(self.sites, groups, self.every_start)
        with torch.autocast(groups.device.type, enabled=False):
            encoder(batch.inputs, observers=[observer])
        between = _complete(observer.take(), groups, self.paths)
        counts = groups.sum(1)
        tokens, total = counts[:, :2], counts.sum(-1, keepdim=True)
        lengths = torch.tensor([last - first + 1 for first, last in self.paths], device=tokens.device)
        tokens_B12 = tokens[:, None]
        flow = flow_between_groups(between[..., :2, :2].double(), tokens_B12, self.pair_reduction)
        even = uniform_paths(tokens_B12.expand(-1, len(lengths), -1), total, lengths.expand(len(tokens), -1))
        uniform = flow_between_groups(even, tokens_B12, self.pair_reduction)
        is_pair = is_matched[:, None]
        return (
            flow.where(is_pair, torch.nan),
            uniform.where(is_pair, torch.nan),
            tokens.double().where(is_pair, torch.nan),
        )

    def _rows_of(self, condition: str, metric: str, estimate: Estimate) -> list[Row]:
        rows = []
        for place, (first, last) in enumerate(self.paths):
            columns = self._columns(last)
            if first == 1:
                rows.append(estimated_row(condition, metric, estimate, place, label=ACCUMULATED, **columns))
            if first == last:
                rows.append(estimated_row(condition, metric, estimate, place, label=LAYER, **columns))
            if self.every_start:
                columns["parameter"] = ",".join(filter(None, [f"first={first}", self.parameter]))
                rows.append(estimated_row(condition, metric, estimate, place, label=PATH, **columns))
        return rows

    def _columns(self, layer: int) -> dict[str, Any]:
        return {"stage": "joint", "query": "joint", "key": "joint", "layer": layer, "parameter": self.parameter}


def joint_sites(encoder: VLEncoder) -> tuple[Site, ...]:
    """Return the attention sites of a model in whose every layer all tokens attend to all, in execution order.

    Raises:
        ValueError: naming the model, if it is none.
    """
    sites = encoder.attention_sites
    stages = ", ".join(dict.fromkeys(site.stage for site in sites))
    refusal = f"probe imf cannot be put to model {encoder.name}: "
    if encoder.reads == "text":
        raise ValueError(f"{refusal}it reads no image (its attention is of stage {stages})")
    if any((site.query, site.key) != ("joint", "joint") for site in sites):
        raise ValueError(
            f"{refusal}text and vision are two streams (attention of stages {stages}), "
            "and flow takes maps in which all tokens of both attend to all (stage joint)"
        )
    return sites


def parser_rows(encoder: VLEncoder) -> list[Row]:
    """Return what a model's visual parser costs; nothing for a model without."""
    parser, pixel_input = getattr(encoder.embeddings, "parser", None), encoder.pixel_input
    if parser is None or pixel_input is None:
        return []
    cost = parser_cost(parser, pixel_input.shortest)
    counted = {"multiply_accumulates": cost.macs, "parameters": cost.parameters}
    return [Row("model", metric, value, 1, label="visual_parser") for metric, value in counted.items()]


def flow_groups(encoder: VLEncoder, batch: ProbeBatch, site: Site, specials: str = TEXT) -> Tensor:
    """Return (B, S, 3) bool: text that counts, vision that counts, and tokens that only carry paths."""
    layer = (Site(site.stage, site.layer, site.query),)
    is_vision, counted = counted_tokens(encoder, batch, layer, specials)
    _, is_real = real_tokens(encoder, batch, layer)
    return torch.stack([counted & ~is_vision, counted & is_vision, is_real & ~counted], dim=-1)


def _complete(sums: dict[tuple[int, int], Tensor], groups: Tensor, paths: Sequence[tuple[int, int]]) -> Tensor:
    """Return sums (B, P, G, G) of ``paths``, checked: what tokens have from all groups is all there is.

    Raises:
        CaptureError: if it is not, since real tokens attend to padding.
    """
    between = torch.stack([sums[path] for path in paths], dim=1)
    tokens = groups.sum(1)[:, None]
    error = ((between.sum(-1) - tokens) / tokens.clamp(min=1)).abs().max().item()
    if not error <= ROW_SUM_TOLERANCE:
        raise CaptureError(f"attention of real tokens to real tokens differs from a sum of 1 by {error:.3g}")
    return between


def _entry(estimate: Estimate, index: int) -> Estimate:
    return Estimate(*(part[index] for part in estimate))


class _FlowBatches(Dataset[FlowBatch]):
    """Batches of the flow probe, addressed by lists of places.

    Args:
        pairs: the data's own.
        seed: of the captions of others.
    """

    def __init__(self, pairs: ProbeBatches, seed: int) -> None:
        self.pairs, self.seed = pairs, seed

    def __getitem__(self, places: Sequence[Place]) -> FlowBatch:
        matched = self.pairs[places]
        others = [self._with_other_caption(s, place.index) for s, place in zip(matched.samples, places, strict=True)]
        texts = collate_probe(others, self.pairs.tokenizer, self.pairs.max_pieces)
        words = {name: getattr(texts.inputs, name) for name in ("input_ids", "text_mask", "token_types")}
        mismatched = replace(texts, inputs=replace(matched.inputs, **words))
        return FlowBatch(matched, mismatched, torch.tensor([sample.is_matched for sample in matched.samples]))

    def _with_other_caption(self, sample: Sample, index: int) -> Sample:
        """Return a sample with the caption of another, drawn by the seed and the sample alone."""
        dataset, generator = self.pairs.dataset, np.random.default_rng([self.seed, index])
        other = other_image(dataset, index, generator, f"that of sample {index}")
        return replace(sample, caption=dataset.caption(other), regions=None, phrases=())
