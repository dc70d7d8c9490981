"""What every probe that trains a prober is: items, activations read once and kept, a fit a condition, rows.

The encoder runs only while activations are read, and not at all where they are kept already. Trained is on the split
``train``, stopped on ``val``, reported on the split that was asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from vlp.data.dataset import VLDataset
from vlp.data.sample import Sample
from vlp.data.tokenisation import CaptionTokenizer
from vlp.metrics.resampling import LEAST_RESAMPLES
from vlp.models.encoder import VLEncoder
from vlp.probes.activations import (
    ActivationCache,
    PairActivations,
    Reading,
    Source,
    deranged,
    encoder_digest,
    read_activations,
)
from vlp.probes.base import Probe
from vlp.probes.items import Links, PairItems, ReadLinks, read_links, readable
from vlp.probes.outcomes import Outcome, Statistics
from vlp.probes.pair_sites import PairSites, columns
from vlp.probes.probers import Examples, OneSidedProber, Prober, VisualFeaturesProber, fit
from vlp.probes.probers.control_task import control_labels
from vlp.probes.probers.description_length import description_length
from vlp.probes.probers.fitting import ProberFactory
from vlp.probes.probers.one_sided import FIRST
from vlp.results import Row

# Axes: N items, M pairs, L layers, P prober seeds.

log = logging.getLogger(__name__)

TRAIN, VAL, TEST = "train", "val", "test"
"""Parts of the work; the split reported on need not be called ``test``."""

MISMATCHED, RAW = "mismatched", "visual_features"


@dataclass(frozen=True)
class ProbeData:
    """What a trained probe is given.

    Args:
        datasets: to train on, to stop by, and to report on, as ``train``, ``val``, ``test``.
        tokenizer: cuts captions.
        cache: where activations are kept.
        batch_size: samples a batch.
        num_workers: processes that prepare batches; changes no number.
    """

    datasets: Mapping[str, VLDataset]
    tokenizer: CaptionTokenizer
    cache: ActivationCache
    batch_size: int
    num_workers: int = 0


@dataclass(frozen=True)
class Task:
    """What is fitted under a condition.

    Args:
        condition: the word of the column.
        prober: builds the prober.
        inputs: of the pairs (M, ...), by part of the work.
        layers: fields of a row that say which layer each of the prober's is.
        labels: of the items (N,), by part; None for the true ones.
        has_length: whether its description length is reported.
    """

    condition: str
    prober: ProberFactory
    inputs: Mapping[str, Tensor]
    layers: Sequence[Mapping[str, Any]] = ({},)
    labels: Mapping[str, Tensor] | None = None
    has_length: bool = False


class TrainedProbe(Probe):
    """A question about pairs that a prober is trained to answer from a frozen model's activations.

    A subclass says what is read of a sample (`read`), which items that makes (`items`), at which sites (`sites_of`) and
    which controls there are of its own (`own_controls`). Use it with `measure`, then read `rows`.

    Rows of each condition, each layer where the prober has some, for every prober seed and (empty) their mean:
    ``accuracy`` and ``balanced_accuracy`` with a 95 % interval clustered by image; of the mean ``recall`` a class.
    ``chance`` is one over the classes, ``majority`` the class most frequent in training. In ``shuffled`` the labels of
    every part are dealt out anew, in ``control_task`` each pair type has a random label (Hewitt and Liang, EMNLP 2019);
    ``selectivity`` is what the accuracy is above that. ``accuracy_gain`` is the paired difference to
    another condition, ``description_length`` the bits of the training labels (Voita and Titov, EMNLP 2020), of
    ``chance`` those of a uniform code.

    Args:
        encoder: the model in question.
        control: the same architecture with random weights.
        seed: of drawn samples, pairs and captions, and of the prober.
        needs: annotations the data must have.
        prober: builds the prober from ``item_shape``, ``num_classes`` and ``seed``.
        max_train_samples, max_val_samples, max_test_samples: samples looked at, drawn at random; None for all.
        resamples: of the bootstrap.
        with_length: whether description lengths are measured, which takes as long as everything else.

    Raises:
        ValueError: if an option is too small, or the model has no place that the probe looks at.
    """

    at_most: ClassVar[tuple[str, ...]] = ("max_train_samples", "max_val_samples", "max_test_samples")
    """Options that limit something: a whole number from 1, or None for no limit."""

    takes: ClassVar[tuple[str, ...]] = ("attention", "states")
    """What a prober may read (`Prober.reads`)."""

    def __init__(
        self,
        encoder: VLEncoder,
        control: VLEncoder,
        seed: int,
        needs: Iterable[str],
        prober: ProberFactory,
        max_train_samples: int | None,
        max_val_samples: int | None,
        max_test_samples: int | None,
        resamples: int,
        with_length: bool,
    ) -> None:
        super().__init__(encoder, control, seed, needs)
        self.prober = prober
        self.limits = {TRAIN: max_train_samples, VAL: max_val_samples, TEST: max_test_samples}
        limits = {f"max_{part}_samples": limit for part, limit in self.limits.items()}
        self.check_options({**limits, "resamples": resamples})
        self.resamples, self.with_length = resamples, with_length
        self.sites = self.sites_of(encoder)

    @classmethod
    def check_prober(cls, prober: Any, probe: str) -> None:
        """Refuse a prober that reads what this probe has not.

        Raises:
            ValueError: naming probe and prober, and what there is instead.
        """
        reads = prober_class(prober).reads
        if reads not in cls.takes:
            raise ValueError(f"probe {probe} has no {reads} of pairs for a prober; it has {', '.join(cls.takes)}")

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse limits that leave nothing, and too few resamples; an option that is not among ``options`` is left.

        Raises:
            ValueError: naming option, value and what is expected.
        """
        for name in cls.at_most:
            if options.get(name) is not None:
                _check_whole(name, options[name], 1)
        if "resamples" in options:
            _check_whole("resamples", options["resamples"], LEAST_RESAMPLES)

    def sites_of(self, encoder: VLEncoder) -> PairSites:
        """Return where pairs are looked at.

        Raises:
            ValueError: if the model has no such place.
        """
        raise NotImplementedError

    def read(self, sample: Sample, generator: np.random.Generator) -> Links:
        """Return the pairs of a sample."""
        raise NotImplementedError

    def items(self, links: Mapping[str, Links], datasets: Mapping[str, VLDataset]) -> dict[str, PairItems]:
        """Return the items of every part, made of their pairs."""
        raise NotImplementedError

    def own_controls(self, kept: Mapping[str, Mapping[str, PairActivations]]) -> list[Task]:
        """Return the controls that are this probe's own; ``kept`` holds activations by condition and part."""
        raise NotImplementedError

    @property
    def reads(self) -> str:
        """Which activations the prober reads."""
        return prober_class(self.prober).reads

    @property
    def conditions(self) -> tuple[str, ...]:
        """What is read: of the model, of random weights, and with the captions of other images where that is asked."""
        return ("model", "random_weights")

    def measure(self, trainer: pl.Trainer, data: ProbeData) -> None:
        """Read activations with ``trainer`` where they are not kept yet, fit every condition, and make rows of it.

        Raises:
            ValueError: if two parts are of one split, a part has no item, or all test items are of one image.
        """
        _check_splits(data.datasets)
        items = self._items(data)
        kept = self._activations(trainer, data, items)
        statistics = Statistics(items[TEST], items[TRAIN].label, self._seeds, self.resamples, self.seed)
        outcomes = {task.condition: self._fit(task, items) for task in self._tasks(items, kept)}
        self._rows = [
            *statistics.trivial_rows(),
            *(row for outcome in outcomes.values() for row in statistics.rows(outcome)),
            *statistics.differences(outcomes),
        ]

    def results(self) -> list[Row]:
        """Return the rows of `measure`."""
        return self.rows()

    @property
    def _seeds(self) -> tuple[int, ...]:
        return tuple(fitting_of(self.prober)["fitting"].seeds)

    def _items(self, data: ProbeData) -> dict[str, PairItems]:
        read = partial(_readable_links, self.read, data.tokenizer, self.encoder.max_positions)
        links = {
            part: read_links(dataset, read, self.limits[part], self.seed, data.batch_size, data.num_workers)
            for part, dataset in data.datasets.items()
        }
        items = self.items(links, data.datasets)
        for part, made in items.items():
            left_out = "".join(f"; {count} {reason}" for reason, count in made.skipped.items())
            log.info("%s: %d items of %d samples%s", part, len(made), len(made.pairs.samples), left_out)
        if len(set(items[TEST].group)) < 2:
            where = f"dataset {data.datasets[TEST].name} split={data.datasets[TEST].split}"
            found = f"all {len(items[TEST])} items are of {items[TEST].group[0]}"
            raise ValueError(f"{where}: {found}, which says nothing of other images; expected 2 (max_test_samples)")
        return items

    def _activations(
        self, trainer: pl.Trainer, data: ProbeData, items: Mapping[str, PairItems]
    ) -> dict[str, dict[str, PairActivations]]:
        sources = {part: self._source(part, data, items[part]) for part in items}
        encoders = {"model": self.encoder, "random_weights": self.control, MISMATCHED: self.encoder}
        asked = {condition: encoders[condition] for condition in self.conditions}
        weights = {encoder: encoder_digest(encoder) for encoder in set(asked.values())}
        readings = {
            condition: self._readings(condition, encoder, weights[encoder], data.cache, sources)
            for condition, encoder in asked.items()
        }
        all_readings: list[Reading] = [reading for parts in readings.values() for reading in parts.values()]
        read_activations(all_readings, sources, self.sites, trainer, data.batch_size, data.num_workers)
        return {
            condition: {part: reading.activations() for part, reading in parts.items()}
            for condition, parts in readings.items()
        }

    def _readings(
        self, condition: str, encoder: VLEncoder, weights: str, cache: ActivationCache, sources: Mapping[str, Source]
    ) -> dict[str, Reading]:
        is_mismatched = condition == MISMATCHED
        return {
            part: cache.reading(part, condition, encoder, self.sites, source, is_mismatched, weights)
            for part, source in sources.items()
        }

    def _source(self, part: str, data: ProbeData, items: PairItems) -> Source:
        dataset = data.datasets[part]
        donors = deranged(dataset, items.pairs.samples, self.seed) if MISMATCHED in self.conditions else None
        return Source(dataset, items.pairs, data.tokenizer, donors)

    def _tasks(self, items: Mapping[str, PairItems], kept: Mapping[str, Mapping[str, PairActivations]]) -> list[Task]:
        """Return what is fitted: the measurement, then the controls."""
        layers = [columns(layer) for layer in self.sites.states] if self.reads == "states" else ({},)
        inputs = {
            condition: {part: getattr(read, self.reads) for part, read in parts.items()}
            for condition, parts in kept.items()
        }
        read = [
            Task(
                RAW if self.reads == "features" else condition,
                self.prober,
                parts,
                layers,
                has_length=self.with_length and condition != MISMATCHED,
            )
            for condition, parts in inputs.items()
        ]
        dealt = {part: self._shuffled(each.label, place) for place, (part, each) in enumerate(items.items())}
        pretended = self._control_labels(items)
        return [
            *read,
            Task("shuffled", self.prober, inputs["model"], layers, labels=dealt),
            Task("control_task", self.prober, inputs["model"], layers, labels=pretended),
            *self.own_controls(kept),
        ]

    def _shuffled(self, label: Tensor, place: int) -> Tensor:
        generator = np.random.default_rng([self.seed, place])
        return label[torch.from_numpy(generator.permutation(len(label)))]

    def _control_labels(self, items: Mapping[str, PairItems]) -> dict[str, Tensor]:
        sizes = [len(each) for each in items.values()]
        types = torch.cat([each.pair_type for each in items.values()])
        labels = control_labels(types, items[TRAIN].label, seed=self.seed)
        return dict(zip(items, labels.split(sizes), strict=True))

    def _fit(self, task: Task, items: Mapping[str, PairItems]) -> Outcome:
        """Fit a condition and ask about the test items."""
        num_classes = len(items[TRAIN].classes)
        examples = {part: _examples(task, part, items[part]) for part in items}
        fitted = fit(task.prober, examples[TRAIN], examples[VAL], num_classes, self.seed)
        predictions = fitted.predict(examples[TEST])
        bits = None
        if task.has_length:
            bits = description_length(task.prober, examples[TRAIN], examples[VAL], num_classes, self.seed).bits
        predicted = predictions.label.view(len(task.layers), len(self._seeds), -1)
        return Outcome(task.condition, task.layers, predicted, examples[TEST].labels, bits)

    def one_sided(self, condition: str, inputs: Mapping[str, Tensor]) -> Task:
        """Return the control of a linear classifier over one token of each pair, (M, 1, K, D), the first of K."""
        return Task(condition, partial(OneSidedProber, side=FIRST, **fitting_of(self.prober)), inputs)

    def raw_features(self, kept: Mapping[str, PairActivations]) -> Task:
        """Return the control of equation 4 on raw features."""
        inputs = {part: read.features for part, read in kept.items() if read.features is not None}
        prober = partial(VisualFeaturesProber, rank=self.encoder.vision_width, **fitting_of(self.prober))
        return Task(RAW, prober, inputs)


def _readable_links(
    read: ReadLinks, tokenizer: CaptionTokenizer, max_pieces: int, sample: Sample, generator: np.random.Generator
) -> Links:
    return readable(read(sample, generator), sample, tokenizer, max_pieces)


def _check_whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"probe.{name}={value}: expected a whole number from {least:,}")


def _check_splits(datasets: Mapping[str, VLDataset]) -> None:
    """Refuse to train, stop or report on one and the same split.

    Raises:
        ValueError: naming the data set, the split and the parts of the work that it is given for.
    """
    for dataset in datasets.values():
        parts = [part for part, other in datasets.items() if (other.name, other.split) == (dataset.name, dataset.split)]
        if len(parts) > 1:
            raise ValueError(
                f"dataset {dataset.name} split={dataset.split} is given as {' and as '.join(parts)}; expected a split "
                "of its own for each (a data set says which it is by its attribute split)"
            )


def checked_question(question: str, questions: Sequence[str]) -> str:
    """Return ``question`` if it is one of ``questions``.

    Raises:
        ValueError: if it is not, naming them.
    """
    if question not in questions:
        raise ValueError(f"question={question} is none of {', '.join(questions)}")
    return question


def prober_class(prober: Any) -> type[Prober]:
    """Return the class that a prober's factory builds."""
    kind: type[Prober] = getattr(prober, "func", prober)
    return kind


def fitting_of(prober: Any) -> dict[str, Any]:
    """Return how a prober's factory has it trained, for controls to be trained alike."""
    return {name: prober.keywords[name] for name in ("optimizer", "fitting")}


def _examples(task: Task, part: str, items: PairItems) -> Examples:
    label = items.label if task.labels is None else task.labels[part]
    label_M = torch.zeros(len(items.pairs), dtype=torch.long)
    label_M[items.rows] = label
    return Examples(task.inputs[part], label_M, items.rows)
