"""Reading and keeping what the four probes of pairs need, beside a plain forward of the same model: UNITER-base.

A batch of 16 captions of at most 20 pieces, and 36 regions. Attention and states of phrases with regions (vcd, vcc) and
of two regions (vri, vrc) are read in a pass each, as the probes do, whose data differ, and both in one pass. What was
read goes to a shard on disk, whose digest is counted and the wait for the disk is not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.goals import Goal
from benchmarks.timing import Contenders, interleave, ratio
from vlp.data.sample import Batch
from vlp.models import VLEncoder, build
from vlp.probes.activation_store import DiskStore
from vlp.probes.activations import pair_shapes
from vlp.probes.pair_sites import PairObserver, PairPlaces, coreference_sites, relation_sites

# Axes: P pairs, K regions of a pair, F feature width.

BATCH_SIZE, PIECES, SHORTEST, REGIONS, FEATURE_WIDTH, VOCAB = 16, 20, 12, 36, 2048, 30522
PAIRS = 8
"""Of a sample, of either kind: four that are linked, as in a caption of Flickr30k, and as many that are not."""
LONGEST_PHRASE = 3
ROUNDS = 7
LIMIT = 1.1
PHRASES, RELATIONS, ALL = "vcd, vcc", "vri, vrc", "all four in one pass"


@dataclass(frozen=True)
class Wanted:
    """Pairs of a batch: who reads them, where they stand, features (P, K, F) of their regions, where all of it goes."""

    observer: PairObserver
    places: PairPlaces
    features: Tensor
    store: DiskStore


def measure(rounds: int | None = None) -> list[Goal]:
    """Return what extraction costs."""
    encoder = build("uniter", size="base", feature_width=FEATURE_WIDTH, vocab_size=VOCAB).requires_grad_(False)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        times = interleave(contenders(encoder, draw(FEATURE_WIDTH, VOCAB), Path(folder)), rounds or ROUNDS)
    return [
        Goal.of_ratio(f"extraction for {kind} / plain forward", ratio(times, kind, "plain"), LIMIT)
        for kind in (PHRASES, RELATIONS, ALL)
    ]


def contenders(encoder: VLEncoder, batch: Batch, folder: Path) -> Contenders:
    """Return a plain forward, an extraction of either kind of pairs into ``folder``, and one of both."""
    phrases, relations = wanted(encoder, batch, folder)
    kinds = {"plain": [], PHRASES: [phrases], RELATIONS: [relations], ALL: [phrases, relations]}
    return {name: partial(extract, encoder, batch, pairs) for name, pairs in kinds.items()}


def draw(feature_width: int, vocab_size: int) -> Batch:
    """Return random captions, the longest of `PIECES`, and regions."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(SHORTEST, PIECES + 1, (BATCH_SIZE, 1), generator=generator)
    lengths[0] = PIECES
    ids = torch.randint(vocab_size, (BATCH_SIZE, PIECES), generator=generator)
    features = torch.rand(BATCH_SIZE, REGIONS, feature_width, generator=generator)
    boxes = torch.tensor([0.1, 0.1, 0.6, 0.6]).expand(BATCH_SIZE, REGIONS, 4)
    real = torch.ones(BATCH_SIZE, REGIONS, dtype=torch.bool)
    return Batch(ids, torch.arange(PIECES) < lengths, torch.zeros_like(ids), features, boxes, real)


def wanted(encoder: VLEncoder, batch: Batch, folder: Path) -> list[Wanted]:
    """Return random pairs of a phrase and a region, and of two regions."""
    assert batch.features is not None
    generator, count = torch.Generator().manual_seed(1), BATCH_SIZE * PAIRS
    subject, object_ = torch.randint(REGIONS, (2, count, 1), generator=generator)
    start = torch.randint(1, SHORTEST - LONGEST_PHRASE, (count, 1), generator=generator)
    length = torch.randint(1, LONGEST_PHRASE + 1, (count, 1), generator=generator)
    row, pieces = torch.arange(BATCH_SIZE).repeat_interleave(PAIRS), torch.arange(LONGEST_PHRASE)
    found = []
    for sites, regions, first, mask in (
        (coreference_sites(encoder.sites), object_, start + pieces, pieces < length),
        (relation_sites(encoder.sites), torch.cat([subject, object_], 1), subject, None),
    ):
        features = batch.features[row[:, None], regions]
        shapes = {**pair_shapes(encoder, sites), "features": tuple(features.shape[1:])}
        store = DiskStore(folder, {"sites": str(sites)}, shapes, [0, count])
        places = PairPlaces(row, first, mask, object_[:, 0], PIECES)
        found.append(Wanted(PairObserver(sites, encoder.first_region), places, features, store))
    return found


@torch.inference_mode()
def extract(encoder: VLEncoder, batch: Batch, pairs: Sequence[Wanted]) -> None:
    """Run the model on a batch, and keep what is wanted of its pairs; nothing in a plain forward."""
    for each in pairs:
        each.observer.look_at(each.places)
    encoder(batch, observers=[each.observer for each in pairs])
    for each in pairs:
        attention, states = each.observer.take()
        read = {"attention": attention, "states": states, "features": each.features}
        each.store.write(0, {name: tensor.numpy() for name, tensor in read.items()})
