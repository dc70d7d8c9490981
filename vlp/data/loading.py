"""Loaders: pre-training batches in an order that can be resumed, and every sample once for probes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from vlp.data.collate import ProbeBatch, collate_probe
from vlp.data.dataset import VLDataset
from vlp.data.groups import Texts
from vlp.data.masking import Corruption
from vlp.data.ordering import Place, TrainingOrder
from vlp.data.pairs import PretrainingBatch, PretrainingPairs
from vlp.data.pixels import PixelInput
from vlp.data.sample import Sample
from vlp.data.tokenisation import CaptionTokenizer
from vlp.durable.stopping import ignore_signals

log = logging.getLogger(__name__)

BatchT = TypeVar("BatchT")


class EveryBatch(Sampler[list[Place]]):
    """Every pair once, in file order, for each group of tasks; no process sees a pair twice.

    A batch holds the same pairs whatever the number of processes, which is asked for when the batches are. ``len`` is
    at least 1: Lightning leaves out a process that has no batch, and the others would wait for its sums.

    Args:
        size: number of pairs.
        batch_size: pairs a batch.
        task_groups: the data are gone through once a group; ``[()]`` is one pass for all objectives together.
    """

    def __init__(self, size: int, batch_size: int, task_groups: Sequence[tuple[str, ...]] = ((),)) -> None:
        self.size, self.batch_size, self.task_groups = size, batch_size, task_groups

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield this process's batches."""
        for tasks in self.task_groups:
            for start in self._starts():
                stop = min(start + self.batch_size, self.size)
                yield [Place(0, index, tasks) for index in range(start, stop)]

    def __len__(self) -> int:
        """Return the number of this process's batches, 1 where it has none."""
        return max(1, len(self.task_groups) * len(self._starts()))

    @property
    def num_shared(self) -> int:
        """The number of batches that every process has; some may have more, in which the others take no part."""
        _, world_size = process_rank()
        return len(self.task_groups) * (-(-self.size // self.batch_size) // world_size)

    def _starts(self) -> range:
        rank, world_size = process_rank()
        return range(rank * self.batch_size, self.size, self.batch_size * world_size)


def process_rank() -> tuple[int, int]:
    """Return this process's rank and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class PretrainingData(pl.LightningDataModule):
    """Training and validation pairs.

    ``position`` is where training goes on: an epoch, and how many of its batches this process has been trained on; at
    their number nothing of that epoch is left, and the next one follows whole. Set it before loaders are made.

    Args:
        train: samples to train on.
        val: samples held out.
        tokenizer: cuts captions.
        corruptions: by objective.
        task_weights: with weights, one objective is drawn a batch; empty: every batch is for all of them.
        batch_size: pairs a batch and process; images, where they have several texts.
        num_workers: processes that prepare batches; changes no number.
        seed: of order and corruption.
        max_pieces: the longest caption the model takes.
        pixel_input: the pixels the model reads; None for a model that reads none.
        texts: how many texts an image has; None for pairs.
    """

    def __init__(
        self,
        train: VLDataset,
        val: VLDataset,
        tokenizer: CaptionTokenizer,
        corruptions: Mapping[str, Corruption],
        task_weights: Mapping[str, float],
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        max_pieces: int | None = None,
        pixel_input: PixelInput | None = None,
        texts: Texts | None = None,
    ) -> None:
        super().__init__()
        pairs = partial(
            PretrainingPairs,
            tokenizer=tokenizer,
            corruptions=corruptions,
            max_pieces=max_pieces,
            pixel_input=pixel_input,
            texts=texts,
        )
        self.train_pairs = pairs(train, seed=seed)
        self.val_pairs = pairs(val, seed=0)
        self.task_weights = dict(task_weights)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.position = (0, 0)

    def setup(self, stage: str) -> None:
        """Check that there is enough to train on, before time is spent on anything else.

        Raises:
            ValueError: if there are fewer pairs than one batch a process needs.
        """
        order = self._training_order()
        if stage == "fit":
            texts, steps = self.train_pairs.pairs_a_place, order.batches_a_step * order.world_size
            number = self.batch_size * steps
            log.info("a step of the optimiser is for %d images, %d texts each: %d pairs", number, texts, number * texts)

    def train_dataloader(self) -> DataLoader[PretrainingBatch]:
        """Return the training batches from the current position on."""
        return self._loader(self.train_pairs, self._training_order())

    def val_dataloader(self) -> DataLoader[PretrainingBatch]:
        """Return every validation pair once, for each objective apart where training samples one a step."""
        groups: list[tuple[str, ...]] = [(task,) for task in self.task_weights] or [()]
        return self._loader(self.val_pairs, EveryBatch(len(self.val_pairs), self.batch_size, groups))

    def _training_order(self) -> TrainingOrder:
        rank, world_size = process_rank()
        return TrainingOrder(
            size=len(self.train_pairs),
            batch_size=self.batch_size,
            seed=self.seed,
            # The captions of others that join a group are of any length.
            length=self.train_pairs.length if self.train_pairs.texts is None else None,
            tasks=self.task_weights,
            batches_a_step=1 if self.trainer is None else self.trainer.accumulate_grad_batches,
            rank=rank,
            world_size=world_size,
            epoch=self.position[0],
            start=self.position[1],
        )

    def _loader(self, pairs: PretrainingPairs, order: Sampler[list[Place]]) -> DataLoader[PretrainingBatch]:
        lasting = {"pin_memory": torch.cuda.is_available(), "persistent_workers": self.num_workers > 0}
        return whole_batches(pairs, order, self.num_workers, **lasting)


def whole_batches(
    batches: Dataset[BatchT], order: Sampler[list[Place]], num_workers: int, **options: Any
) -> DataLoader[BatchT]:
    """Return the loader of ``batches``, addressed by the lists of places that ``order`` gives.

    Its workers outlive a signal sent to all processes, since a training that is told to stop finishes its step first.

    Args:
        batches: what makes a batch of places.
        order: the places of each batch.
        num_workers: processes that prepare batches; changes no number.
        options: others of ``DataLoader``.
    """
    return DataLoader(
        batches, sampler=order, batch_size=None, num_workers=num_workers, worker_init_fn=ignore_signals, **options
    )


def probe_loader(
    dataset: VLDataset,
    tokenizer: CaptionTokenizer,
    batch_size: int,
    num_workers: int = 0,
    max_pieces: int | None = None,
    pixel_input: PixelInput | None = None,
) -> DataLoader[ProbeBatch]:
    """Return every sample of ``dataset`` once, in order, as batches of a probe.

    Args:
        dataset: samples.
        tokenizer: cuts captions.
        batch_size: samples a batch.
        num_workers: processes that prepare batches; changes no number.
        max_pieces: the longest caption the model takes; a longer one is an error naming the sample.
        pixel_input: the pixels the model reads; None for a model that reads none.
    """
    batches = ProbeBatches(dataset, tokenizer, max_pieces, pixel_input)
    return whole_batches(batches, EveryBatch(len(dataset), batch_size), num_workers)


class ProbeBatches(Dataset[ProbeBatch]):
    """Probe batches, addressed by lists of places.

    Args:
        dataset: samples.
        tokenizer: cuts captions.
        max_pieces: the longest caption the model takes.
        pixel_input: the pixels the model reads; None for a model that reads none.
    """

    def __init__(
        self,
        dataset: VLDataset,
        tokenizer: CaptionTokenizer,
        max_pieces: int | None,
        pixel_input: PixelInput | None,
    ) -> None:
        self.dataset, self.tokenizer = dataset, tokenizer
        self.max_pieces, self.pixel_input = max_pieces, pixel_input

    def __getitem__(self, places: Sequence[Place]) -> ProbeBatch:
        """Return the batch of ``places``."""
        samples: list[Sample] = [self.dataset[place.index] for place in places]
        return collate_probe(samples, self.tokenizer, self.max_pieces, self.pixel_input)
