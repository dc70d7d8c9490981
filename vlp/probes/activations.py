"""Activations of pairs: read once from a frozen model, kept, and handed to every prober that asks.

One pass over the samples serves every model and caption that is still to be read (the model itself, its control, the
model with another image's caption), and both kinds of prober.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlp.data.collate import ProbeBatch, collate_probe
from vlp.data.dataset import VLDataset
from vlp.data.sample import Batch
from vlp.data.tokenisation import CaptionTokenizer
from vlp.durable.stopping import ignore_signals
from vlp.models.encoder import VLEncoder
from vlp.probes.activation_store import ActivationStore, DiskStore, MemoryStore
from vlp.probes.items import Pairs
from vlp.probes.pair_sites import REGION, PairObserver, PairPlaces, PairSites

# Axes: N pairs, P pairs of a batch, W word pieces, L layers, H heads, D width, F feature width, T text tokens.

log = logging.getLogger(__name__)

SHARD = 256
"""Samples whose activations are written at once, and lost by a kill."""


@dataclass(frozen=True)
class PairActivations:
    """What a model makes of pairs.

    Args:
        attention: (N, L, H, 2) weights from the first place to the second and back, each in [0, 1].
        states: (N, L', 2, D) of both places.
        features: (N, K, F) of the places that are regions, as the model was given them; None where not asked for.
    """

    attention: Tensor
    states: Tensor
    features: Tensor | None = None


@dataclass(frozen=True)
class Reading:
    """Something to be read of the pairs of a split.

    Args:
        split: which split's.
        condition: what for; names it in messages.
        encoder: the model.
        is_mismatched: whether it is given the caption of another image.
        store: where it goes.
    """

    split: str
    condition: str
    encoder: VLEncoder
    is_mismatched: bool
    store: ActivationStore

    def activations(self) -> PairActivations:
        """Return what was read."""
        return PairActivations(**self.store.tensors())


@dataclass(frozen=True)
class Source:
    """The pairs of a split, the samples they are in, and what cuts their captions.

    ``donors`` gives, for the samples that have a pair (`Pairs.samples`), whose caption they get when mismatched.
    """

    dataset: VLDataset
    pairs: Pairs
    tokenizer: CaptionTokenizer
    donors: Tensor | None = None


@dataclass(frozen=True)
class ActivationCache:
    """Finds the place of activations by what they depend on.

    Args:
        folder: of all of them; None keeps them in memory.
        content: what else they depend on, plain data: the model's config, the content of the data's files.
    """

    folder: Path | None = None
    content: Mapping[str, Any] = field(default_factory=dict)

    def reading(
        self,
        split: str,
        condition: str,
        encoder: VLEncoder,
        sites: PairSites,
        source: Source,
        is_mismatched: bool = False,
        weights: str | None = None,
    ) -> Reading:
        """Return what is to be read of ``encoder``; features are read with the condition ``model`` alone.

        ``weights`` is what `encoder_digest` gives, where it is known.
        """
        shapes = pair_shapes(encoder, sites)
        if condition == "model":
            shapes["features"] = (sites.sides.count(REGION), encoder.feature_width or 0)
        bounds = shard_bounds(source.pairs)
        if self.folder is None:
            return Reading(split, condition, encoder, is_mismatched, MemoryStore(shapes, bounds))
        data = source.dataset
        content = {
            **self.content,
            "data": [data.name, data.split, dict(data.fingerprint)],
            "condition": condition,
            "weights": weights or encoder_digest(encoder),
            "sites": str(sites),
            "pairs": source.pairs.digest,
            "captions": digest_of_tensor(source.donors) if is_mismatched and source.donors is not None else "own",
            "tokenizer": source.tokenizer.digest,
        }
        return Reading(split, condition, encoder, is_mismatched, DiskStore(self.folder, content, shapes, bounds))


def pair_shapes(encoder: VLEncoder, sites: PairSites) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what is read of a pair: weights (L, H, 2), states (L', 2, D) in the wider stream's width.

    Raises:
        ValueError: if the maps have not all as many heads.
    """
    heads = {encoder.heads_of[site] for layer in sites.attention for site in layer}
    if len(heads) != 1:
        raise ValueError(f"model {encoder.name}: maps read together have {sorted(heads)} heads, expected one number")
    width = max(encoder.width_of(site.query) for layer in sites.states for site in layer)
    return {"attention": (len(sites.attention), heads.pop(), 2), "states": (len(sites.states), 2, width)}


def shard_bounds(pairs: Pairs) -> list[int]:
    """Return the pair at which each shard begins, and last the number of pairs."""
    starts = pairs.samples[::SHARD].contiguous()
    return [*torch.searchsorted(pairs.sample, starts).tolist(), len(pairs)]


def encoder_digest(encoder: VLEncoder) -> str:
    """Return the sha256 of a model's weights, names, heads and behaviour, which its weights may say."""
    heads = " ".join(str(number) for number in dict.fromkeys(encoder.heads_of.values()))
    behaviour = " as released" if encoder.released_behaviour else ""
    sha256 = hashlib.sha256(f"{encoder.name} {heads}{behaviour}".encode())
    for name, tensor in encoder.state_dict().items():
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def digest_of_tensor(tensor: Tensor) -> str:
    """Return the sha256 of a tensor of whole numbers."""
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def deranged(dataset: VLDataset, samples: Tensor, seed: int) -> Tensor:
    """Return for each of ``samples`` another of them whose image is another, each of them once.

    Samples are laid out in a random circle, those of one image side by side, and each gets the one as many places on as
    the image with most samples has.

    Raises:
        ValueError: if more than half of the samples share an image.
    """
    keys = [dataset.image_key(index) for index in samples.tolist()]
    _, image = np.unique(keys, return_inverse=True)
    most = int(np.bincount(image).max())
    if 2 * most > len(keys):
        where = f"dataset {dataset.name} split={dataset.split}"
        raise ValueError(
            f"{where}: {most} of {len(keys)} samples share an image, so none can be given another's caption"
        )
    generator = np.random.default_rng(seed)
    circle = np.lexsort((generator.random(len(keys)), generator.permutation(len(keys))[image]))
    donors = np.empty(len(keys), dtype=np.int64)
    donors[circle] = np.roll(circle, -most)
    return samples[torch.from_numpy(donors)]


def read_activations(
    readings: Sequence[Reading],
    sources: Mapping[str, Source],
    sites: PairSites,
    trainer: pl.Trainer,
    batch_size: int,
    num_workers: int = 0,
) -> None:
    """Read from the models what is not there yet, in one pass over the samples it concerns.

    Raises:
        StorageError: if the disk does not take it.
        ValueError: if the trainer did not go through all samples, or would bring the models into another precision.
    """
    if trainer.precision.endswith("-true") and trainer.precision != "32-true":
        raise ValueError(
            f"trainer.precision={trainer.precision}: activations are read from models as they are, and kept in single "
            "precision; expected 32-true or, for quicker arithmetic, bf16-mixed"
        )
    with ExitStack() as stack:
        stores = {str(getattr(reading.store, "key", id(reading))): reading.store for reading in readings}
        for key in sorted(stores):  # each once: who waits for himself waits for ever
            stack.enter_context(stores[key].held())
        unread = [reading for reading in readings if reading.store.missing]
        _tell(readings, unread)
        if not unread:
            return
        chunks = _chunks(unread, sources, batch_size)
        loader = DataLoader(
            _PairBatches(sources, unread),
            sampler=chunks,
            batch_size=None,
            num_workers=num_workers,
            worker_init_fn=ignore_signals,
        )
        trainer.test(Extraction(unread, sites), loader, verbose=False)
        if any(reading.store.missing for reading in unread):
            raise ValueError(
                "the trainer left samples out (trainer.limit_test_batches, fast_dev_run); "
                "to look at fewer give probe.max_train_samples, max_val_samples, max_test_samples"
            )


def _tell(readings: Sequence[Reading], unread: Sequence[Reading]) -> None:
    size, found = (sum(r.store.size for r in part) / 2**20 for part in (unread, readings))
    where = {str(r.store.folder.parent) for r in readings if isinstance(r.store, DiskStore)}
    log.info("activations: %.0f of %.0f MiB to be read, kept in %s", size, found, ", ".join(where) or "memory")


@dataclass(frozen=True)
class _Chunk:
    """Samples of a batch: places ``start`` to ``stop`` in the samples of a split; ``is_last`` of its shard."""

    split: str
    shard: int
    start: int
    stop: int
    is_last: bool


def _chunks(unread: Iterable[Reading], sources: Mapping[str, Source], batch_size: int) -> list[_Chunk]:
    """Return the batches of all shards that any reading lacks; a shard's batches are the same whatever else is read."""
    chunks = []
    for split, source in sources.items():
        missing = set().union(*(reading.store.missing for reading in unread if reading.split == split))
        for shard in sorted(missing):
            first, end = shard * SHARD, min((shard + 1) * SHARD, len(source.pairs.samples))
            starts = range(first, end, batch_size)
            chunks += [_Chunk(split, shard, at, min(at + batch_size, end), at == starts[-1]) for at in starts]
    return chunks


@dataclass
class PairBatch:
    """Samples as a model reads them, with their own captions and, where asked for, others'; and their pairs."""

    chunk: _Chunk
    own: Batch
    places: PairPlaces
    features: Tensor
    mismatched: Batch | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairBatch:
        """Return the batch on ``device``; features, which no model reads, stay where they are."""
        other = None if self.mismatched is None else self.mismatched.to(device, non_blocking)
        return replace(self, own=self.own.to(device, non_blocking), places=self.places.to(device), mismatched=other)


class _PairBatches(Dataset[PairBatch]):
    """Batches of pairs, addressed by chunks."""

    def __init__(self, sources: Mapping[str, Source], readings: Sequence[Reading]) -> None:
        self.sources = sources
        self.max_pieces = min(reading.encoder.max_positions for reading in readings)
        self.mismatched = {reading.split for reading in readings if reading.is_mismatched}

    def __getitem__(self, chunk: _Chunk) -> PairBatch:
        source = self.sources[chunk.split]
        indices = source.pairs.samples[chunk.start : chunk.stop]
        samples = [source.dataset[index] for index in indices.tolist()]
        batch = collate_probe(samples, source.tokenizer, self.max_pieces)
        places = pair_places(batch, indices, source.pairs)
        mismatched = None
        if chunk.split in self.mismatched and source.donors is not None:
            captions = [source.dataset.caption(index) for index in source.donors[chunk.start : chunk.stop].tolist()]
            others = [replace(sample, caption=other) for sample, other in zip(samples, captions, strict=True)]
            mismatched = collate_probe(others, source.tokenizer, self.max_pieces).inputs
        assert batch.inputs.features is not None, "a probe that needs regions is given data without"
        sides = [places.second] if source.pairs.has_phrase else [places.first[:, 0], places.second]
        features = torch.stack([batch.inputs.features[places.row, side] for side in sides], 1)
        return PairBatch(chunk, batch.inputs, places, features, mismatched)


def pair_places(batch: ProbeBatch, samples: Tensor, pairs: Pairs) -> PairPlaces:
    """Return where the pairs of ``samples``, those of the batch, stand in it.

    Raises:
        ValueError: naming the sample with a phrase that has no word piece.
    """
    start, stop = torch.searchsorted(pairs.sample, samples[[0, -1]] + torch.tensor([0, 1])).tolist()
    row = torch.searchsorted(samples, pairs.sample[start:stop])
    first, second = pairs.first[start:stop], pairs.second[start:stop]
    length = batch.inputs.input_ids.shape[1]
    if not pairs.has_phrase:
        return PairPlaces(row, first[:, None], None, second, length)
    offsets_BT2 = torch.nn.utils.rnn.pad_sequence([tokens.offsets for tokens in batch.tokens], batch_first=True)
    begins_PT, ends_PT = offsets_BT2[row].unbind(-1)
    inside_PT = (begins_PT < first[:, 1:]) & (ends_PT > first[:, :1]) & batch.content[row]
    count_P = inside_PT.sum(1)
    if not count_P.all():
        at = int(count_P.argmin())
        sample = batch.samples[int(row[at])]
        span = sample.caption[int(first[at, 0]) : int(first[at, 1])]
        raise ValueError(f"sample {sample.sample_id or sample.image_id}: phrase {span!r} has no word piece")
    mask_PW = torch.arange(int(count_P.max())) < count_P[:, None]
    pieces_PW = inside_PT.int().argsort(dim=1, descending=True, stable=True)[:, : mask_PW.shape[1]]
    return PairPlaces(row, pieces_PW, mask_PW, second, length)


class Extraction(pl.LightningModule):
    """Reads activations of pairs from frozen models, batch by batch, and stores them a shard at a time.

    Args:
        readings: what to read.
        sites: where.
    """

    def __init__(self, readings: Sequence[Reading], sites: PairSites) -> None:
        super().__init__()
        self.readings = list(readings)
        self.encoders = torch.nn.ModuleList(dict.fromkeys(reading.encoder for reading in readings))
        self.observer = PairObserver(sites, readings[0].encoder.first_region)
        self.todo = [reading.store.missing for reading in readings]
        self.parts: list[list[dict[str, np.ndarray]]] = [[] for _ in readings]
        self.eval()

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Read what is asked of a batch; write the shard that ends with it."""
        chunk = batch.chunk
        for at, reading in enumerate(self.readings):
            if reading.split != chunk.split or chunk.shard not in self.todo[at]:
                continue
            self.parts[at].append(self._read(reading, batch))
            if chunk.is_last:
                parts, self.parts[at] = self.parts[at], []
                whole = {name: np.concatenate([part[name] for part in parts]) for name in reading.store.shapes}
                reading.store.write(chunk.shard, whole)

    def _read(self, reading: Reading, batch: PairBatch) -> dict[str, np.ndarray]:
        inputs = batch.mismatched if reading.is_mismatched else batch.own
        assert inputs is not None, "a mismatched reading is given its captions"
        self.observer.look_at(replace(batch.places, length=inputs.input_ids.shape[1]))
        reading.encoder(inputs, observers=[self.observer])
        attention, states = self.observer.take()
        read = {"attention": attention, "states": states, "features": batch.features}
        return {name: read[name].cpu().numpy() for name in reading.store.shapes}
