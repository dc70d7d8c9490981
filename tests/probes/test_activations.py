"""Activations read once, kept, and told apart by all they depend on."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from tests.probes.pairs import Listed, phrase, regions, sample
from tests.probes.subjects import TOKENIZER, encoder, pretrained
from vlp.data.collate import collate_probe
from vlp.data.tokenisation import open_tokenizer
from vlp.models import VLEncoder
from vlp.observe.recording import record
from vlp.probes import activations
from vlp.probes.activations import (
    ActivationCache,
    Reading,
    Source,
    deranged,
    pair_places,
    pair_shapes,
    read_activations,
)
from vlp.probes.coreference_items import coreference_links
from vlp.probes.items import Pairs, read_links
from vlp.probes.pair_sites import PairSites, coreference_sites, relation_sites

CAPTIONS = ("a man and a red dog", "a dog near the man", "the man is on a dog", "a dog or a man", "a man with his dog")


def world() -> Listed:
    return Listed(
        [
            sample(
                caption,
                f"image{index}",
                regions=regions(*("top left", "top right", "bottom left")[: 2 + index % 2]),
                phrases=(
                    phrase(caption, "man", "1", "top left"),
                    phrase(caption, "dog", "2", "top right", kinds=("animals",)),
                ),
            )
            for index, caption in enumerate(CAPTIONS)
        ]
    )


def source(dataset: Listed | None = None, seed: int = 0) -> Source:
    dataset = dataset or world()
    pairs = Pairs.of(read_links(dataset, coreference_links, None, seed))
    return Source(dataset, pairs, TOKENIZER, deranged(dataset, pairs.samples, seed))


def trainer(**options: object) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", **quiet, **options)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "SHARD", 2)


@pytest.fixture
def subject() -> VLEncoder:
    return pretrained("uniter").encoder


def readings(cache: ActivationCache, model: VLEncoder, given: Source) -> list[Reading]:
    sites = coreference_sites(model.sites)
    return [
        cache.reading("train", "model", model, sites, given),
        cache.reading("train", "mismatched", model, sites, given, is_mismatched=True),
    ]


def read(made: list[Reading], model: VLEncoder, given: Source, batch_size: int = 2) -> None:
    read_activations(made, {"train": given}, coreference_sites(model.sites), trainer(), batch_size)


def count_calls(model: VLEncoder) -> list[int]:
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("name", ["vilbert", "vl_bert_ctrl"])
def test_a_global_row_and_unequal_streams_are_kept_as_the_model_has_them(name: str, tmp_path: Path):
    model, given = pretrained(name).encoder, source()
    made = readings(ActivationCache(tmp_path), model, given)
    read(made, model, given)
    kept = made[0].activations()
    batch = collate_probe(world().samples, TOKENIZER, None)
    trace = record(model, batch.inputs)
    last, back = coreference_sites(model.sites).states[-1][1], coreference_sites(model.sites).attention[-1][1]
    start = model.first_region + (batch.inputs.input_ids.shape[1] if last.stage == "joint" else 0)
    assert kept.attention.shape[2] == model.heads_of[back]
    for pair, (at, region) in enumerate(zip(given.pairs.sample, given.pairs.second, strict=True)):
        expected = trace.hidden[last][at][start + region]
        torch.testing.assert_close(kept.states[pair, -1, 1], expected, rtol=1e-4, atol=1e-4)
        assert torch.equal(kept.features[pair], world()[int(at)].regions.features[region][None])


def test_maps_of_unequal_heads_are_not_kept_together():
    model = encoder("vilbert")
    maps = {str(site): site for site in model.attention_sites}
    pair = (maps["cross.0.text-text"], maps["cross.0.vision-vision"])
    with pytest.raises(ValueError) as error:
        pair_shapes(model, PairSites(("phrase", "region"), (pair,), ()))
    assert str(error.value) == "model vilbert: maps read together have [2, 3] heads, expected one number"


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_what_is_kept_is_what_the_model_does(subject: VLEncoder, batch_size: int):
    given = source()
    made = readings(ActivationCache(), subject, given)
    read(made, subject, given, batch_size)
    kept = made[0].activations()
    batch = collate_probe(world().samples, TOKENIZER, None)
    trace = record(subject, batch.inputs)
    sites, length = coreference_sites(subject.sites), batch.inputs.input_ids.shape[1]
    for pair, (at, span, region) in enumerate(
        zip(given.pairs.sample, given.pairs.first, given.pairs.second, strict=True)
    ):
        pieces = batch.tokens[at].pieces(*span.tolist())
        for layer, (site, _) in enumerate(sites.attention):
            there = trace.attention[site][at][:, pieces, length + region].amax(-1)
            torch.testing.assert_close(kept.attention[pair, layer, :, 0], there, rtol=0, atol=1e-5)
        for layer, (site, _) in enumerate(sites.states):
            expected = torch.stack([trace.hidden[site][at][pieces].mean(0), trace.hidden[site][at][length + region]])
            torch.testing.assert_close(kept.states[pair, layer], expected, rtol=1e-4, atol=1e-4)
        assert torch.equal(kept.features[pair], world()[int(at)].regions.features[region][None])


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_a_trainer_that_would_change_the_models_weights_is_refused(subject: VLEncoder, precision: str):
    given = source()
    made = readings(ActivationCache(), subject, given)
    with pytest.raises(ValueError) as caught:
        read_activations(made, {"train": given}, coreference_sites(subject.sites), trainer(precision=precision), 2)
    assert str(caught.value) == (
        f"trainer.precision={precision}: activations are read from models as they are, and kept in single precision; "
        "expected 32-true or, for quicker arithmetic, bf16-mixed"
    )


def test_a_mismatched_caption_is_that_of_another_image_with_the_same_regions(subject: VLEncoder):
    swapped = Listed(world().samples)
    given = Source(swapped, Pairs(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([1, 0])), TOKENIZER)
    given = Source(swapped, given.pairs, TOKENIZER, torch.tensor([2, 0]))
    sites = relation_sites(subject.sites)
    made = [ActivationCache().reading("train", "mismatched", subject, sites, given, is_mismatched=True)]
    read_activations(made, {"train": given}, sites, trainer(), 2)
    samples = [sample(CAPTIONS[donor], regions=swapped[at].regions) for at, donor in enumerate((2, 0))]
    batch = collate_probe(samples, TOKENIZER, None)
    hidden, length = record(subject, batch.inputs).hidden, batch.inputs.input_ids.shape[1]
    for layer, (site, _) in enumerate(sites.states):
        expected = torch.stack([hidden[site][0, [length, length + 1]], hidden[site][1, [length + 1, length]]])
        torch.testing.assert_close(made[0].activations().states[:, layer], expected, rtol=1e-5, atol=1e-5)


def test_what_is_kept_is_not_read_again(subject: VLEncoder, tmp_path: Path):
    given, cache, calls = source(), ActivationCache(tmp_path), count_calls(subject)
    read(readings(cache, subject, given), subject, given)
    first, seen = len(calls), given.dataset.reads
    assert first == 6  # three batches, two captions
    again = readings(cache, subject, given)
    read(again, subject, given)
    assert (len(calls), given.dataset.reads) == (first, seen)
    assert torch.isfinite(again[0].activations().states).all()


def test_a_killed_pass_goes_on_to_the_same_bytes(subject: VLEncoder, tmp_path: Path):
    given = source()
    whole = readings(ActivationCache(tmp_path / "whole"), subject, given)
    read(whole, subject, given, batch_size=1)
    calls = []

    def die(*_: object) -> None:
        calls.append(1)
        if len(calls) == 7:  # in the second shard
            raise KeyboardInterrupt

    hook = subject.register_forward_hook(die)
    broken = readings(ActivationCache(tmp_path / "broken"), subject, given)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        read(broken, subject, given, batch_size=1)
    hook.remove()
    again = readings(ActivationCache(tmp_path / "broken"), subject, given)
    assert [reading.store.missing for reading in again] == [{1, 2}, {1, 2}]
    calls = count_calls(subject)
    read(again, subject, given, batch_size=1)
    assert len(calls) == 6  # three samples, two captions
    for one, other in zip(whole, again, strict=True):
        for path in sorted(one.store.folder.rglob("*.npy")):
            assert path.read_bytes() == (other.store.folder / path.name).read_bytes()


def keys(cache: ActivationCache, model: VLEncoder, given: Source) -> set[str]:
    return {reading.store.key for reading in readings(cache, model, given)}


def test_weights_data_pairs_and_captions_share_nothing(subject: VLEncoder, tmp_path: Path):
    cache, given = ActivationCache(tmp_path, {"dataset": 1}), source()
    own = keys(cache, subject, given)
    assert len(own) == 2
    assert keys(cache, subject, source()) == own
    elsewhere = Pairs(given.pairs.sample, given.pairs.first, given.pairs.second * 0)
    other_data = ActivationCache(tmp_path, {"dataset": 2})
    others = [
        keys(cache, encoder("uniter"), given),
        keys(cache, encoder("visualbert"), given),
        keys(other_data, subject, given),
        keys(cache, subject, Source(given.dataset, elsewhere, TOKENIZER, given.donors)),
    ]
    assert all(not own & other for other in others)
    moved = keys(cache, subject, Source(given.dataset, given.pairs, TOKENIZER, given.donors.roll(1)))
    assert len(own & moved) == 1  # the model's own captions stayed


def test_splits_features_and_tokenizers_share_nothing_though_their_pairs_are_equal(subject: VLEncoder, tmp_path: Path):
    words = [TOKENIZER.token(index) for index in range(TOKENIZER.vocab_size)]
    cutters = []
    for order in (words, words[:5] + words[:4:-1]):
        (tmp_path / "vocab.txt").write_text("\n".join(order))  # other words for the same numbers, in the same place
        cutters.append(open_tokenizer(str(tmp_path / "vocab.txt")))
    train, val, darker = world(), world(), world()
    val.split, darker.fingerprint = "val", {"extractor": "another"}
    given = [source(train), source(val), source(darker), *(replace(source(train), tokenizer=each) for each in cutters)]
    assert len({each.pairs.digest for each in given}) == 1
    found = [keys(ActivationCache(tmp_path), subject, each) for each in given]
    assert found[3] == found[0]  # the shipped vocabulary under another name
    assert len(set().union(*found)) == 2 * 4


def test_two_parts_that_are_one_split_share_what_is_read(subject: VLEncoder, tmp_path: Path):
    given, sites = source(), coreference_sites(subject.sites)
    cache = ActivationCache(tmp_path)
    made = [cache.reading(part, "model", subject, sites, given) for part in ("val", "test")]
    read_activations(made, {"val": given, "test": given}, sites, trainer(), 2)
    assert made[0].store.key == made[1].store.key
    assert len(list(tmp_path.glob("[!.]*"))) == 1
    assert torch.equal(made[0].activations().states, made[1].activations().states)


def test_a_trainer_that_leaves_samples_out_is_refused(subject: VLEncoder):
    given = source()
    made = readings(ActivationCache(), subject, given)
    short = trainer(limit_test_batches=1)
    with pytest.raises(ValueError, match=r"^the trainer left samples out \(trainer\.limit_test_batches, "):
        read_activations(made, {"train": given}, coreference_sites(subject.sites), short, 2)


def test_a_derangement_gives_each_caption_once_and_never_to_its_own_image():
    images = [f"image{number}" for number in (0, 0, 0, 1, 2, 2, 3, 3)]
    dataset = Listed([sample("a man", image) for image in images])
    samples = torch.arange(8)
    orders = [deranged(dataset, samples, seed) for seed in range(50)]
    for donors in orders:
        assert sorted(donors.tolist()) == samples.tolist()
        assert all(images[a] != images[b] for a, b in enumerate(donors.tolist()))
    assert torch.equal(orders[0], deranged(dataset, samples, 0))
    assert len({tuple(donors.tolist()) for donors in orders}) > 20


def test_a_derangement_that_there_is_none_of_is_named():
    dataset = Listed([sample("a man", image) for image in "aab"])
    message = "dataset listed split=train: 2 of 3 samples share an image, so none can be given another's caption"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        deranged(dataset, torch.arange(3), 0)


def test_a_phrase_without_a_piece_is_named():
    one = sample("a man", "image7", regions=regions("top left"))
    pairs = Pairs(torch.tensor([0]), torch.tensor([[1, 2]]), torch.tensor([0]))
    message = "sample sample of image7: phrase ' ' has no word piece"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        pair_places(collate_probe([one], TOKENIZER, None), torch.tensor([0]), pairs)
