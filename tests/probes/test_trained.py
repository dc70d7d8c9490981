"""Trained probes, whole: what is planted in a model is found where it is, and nothing is where nothing is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from tests.probes.pairs import Listed, phrase, regions, relation, sample, thing
from tests.probes.subjects import TOKENIZER, encoder
from vlp.configs import instantiate, option_names, read_option
from vlp.data.sample import ANNOTATIONS, Batch, Sample
from vlp.metrics.resampling import LEAST_RESAMPLES, ClusteredBootstrap
from vlp.models import VLEncoder
from vlp.models.observation import Observer, Site
from vlp.probes.activations import ActivationCache
from vlp.probes.probers import AttentionProber, EmbeddingProber, FitSettings, VisualFeaturesProber
from vlp.probes.trained import ProbeData, TrainedProbe
from vlp.results import FRACTIONS, Row, Subject, read_results, write_results

PROBES = [name for name in option_names("probe") if "prober" in read_option("probe", name)]
COREFERENCE = ("vcd", "vcc")
PROBERS = {"attention": AttentionProber, "embedding": EmbeddingProber, "visual_features": VisualFeaturesProber}
FITTING = FitSettings(
    (0, 1), batch_size=64, min_batches=4, max_epochs=12, patience=3, accelerator="cpu", precision="32-true"
)
CAPTION = "a man near a dog"
SECRET_LAYER, SECRET_HEAD = 1, 1


def secret_world(size: int, first_image: int = 0, split: str = "train") -> Listed:
    """Return samples that are all alike but for a secret, which no model reads: the width of the image, 100 or 101.

    It says which region each phrase is linked to, and which predicate relates the regions. (The height says with which
    sign the states of both regions carry it, so that neither of them alone tells.)
    """
    return Listed([_secret(first_image + number) for number in range(size)], split)


def _secret(number: int) -> Sample:
    secret = number * 7919 // 13 % 2
    left, right = ("top left", "top right") if secret == 0 else ("top right", "top left")
    man, dog = thing("1", "man", "top left"), thing("2", "dog", "top right")
    given = regions("top left", "top right", "bottom left")
    given.features.fill_(1.0)
    made = sample(
        CAPTION,
        f"image{number}",
        regions=given,
        phrases=(
            phrase(CAPTION, "a man", "1", left, kinds=("people", "animals")[secret : secret + 1]),
            phrase(CAPTION, "a dog", "2", right, kinds=("people", "animals")[secret : secret + 1]),
        ),
        objects=(man, dog, thing("3", "tree", "bottom left")),
        relations=(relation(man, ("on", "under")[secret], dog),),
    )
    return replace(made, width=100 + secret, height=100 + number // 2 % 2)


class Initiated(VLEncoder):
    """A model that knows the secret: one head of one layer links, the states of one layer tell."""

    def __init__(self, model: VLEncoder) -> None:
        torch.nn.Module.__init__(self)
        self.__dict__.update({**vars(model), **vars(self)})
        self._modules = model._modules

    def forward(self, batch: Batch, observers: Sequence[Observer] = ()) -> Any:
        sizes, length = batch.image_sizes, batch.input_ids.shape[1]
        return super().forward(batch, [Whispering(each, sizes, length) for each in observers])


class Whispering:
    """Hands on to an observer what it sees, the secret put in."""

    def __init__(self, observer: Observer, sizes: Tensor, length: int) -> None:
        self.observer, self.length = observer, length
        self.secret, self.key = sizes[:, 0] - 100, 2 * (sizes[:, 1] - 100) - 1

    def wants(self, site: Site) -> bool:
        return self.observer.wants(site)

    def observe(self, site: Site, value: Tensor) -> None:
        value = value.clone()
        if site.layer == SECRET_LAYER:
            rows = torch.arange(len(value))
            if site.is_attention:
                for piece, region in ((1, self.secret), (2, self.secret), (4, 1 - self.secret), (5, 1 - self.secret)):
                    value[rows, SECRET_HEAD, piece, self.length + region] = 0.9
            else:
                value[:, self.length, 0] += 8 * (2 * self.secret - 1) * self.key
                value[:, self.length + 1, 0] += 8 * self.key
        self.observer.observe(site, value)


def probe(name: str, prober: str = "attention", seed: int = 0, model: str = "uniter", **options: Any) -> TrainedProbe:
    optimizer = partial(torch.optim.AdamW, lr=2e-2)
    config = {key: value for key, value in read_option("probe", name).items() if key != "prober"}
    factory = instantiate({**config, "with_length": False, **options}, _key_="probe")
    return factory(
        encoder=Initiated(encoder(model, seed=1)),
        control=encoder(model, seed=2),
        prober=partial(PROBERS[prober], optimizer=optimizer, fitting=FITTING),
        seed=seed,
    )


def measured(
    made: TrainedProbe, cache: ActivationCache | None = None, sizes: tuple[int, ...] = (80, 40, 60)
) -> TrainedProbe:
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    datasets = {
        part: secret_world(size, 1000 * place, part)
        for place, (part, size) in enumerate(zip(("train", "val", "test"), sizes, strict=True))
    }
    made.measure(trainer, ProbeData(datasets, TOKENIZER, cache or ActivationCache(), batch_size=16))
    return made


def found(rows: Sequence[Row], condition: str, metric: str = "accuracy", parameter: str = "") -> dict[int | None, Row]:
    """Return the means over prober seeds, by layer."""
    chosen = (row for row in rows if (row.condition, row.metric, row.parameter) == (condition, metric, parameter))
    return {row.layer: row for row in chosen if row.prober_seed is None and not row.label}


def columns_of(rows: Sequence[Row]) -> set[str]:
    return {row.condition for row in rows}


def test_a_head_that_links_is_found_and_nothing_where_none_does():
    rows = measured(probe("vcd")).rows()
    assert found(rows, "model")[None].value == 1.0
    for condition in ("random_weights", "shuffled", "phrase_only", "region_only"):
        row = found(rows, condition)[None]
        assert row.ci_low <= 0.5 <= row.ci_high, condition
    assert found(rows, "chance")[None].value == found(rows, "majority")[None].value == 0.5
    gain = found(rows, "model", "accuracy_gain", "over=random_weights")[None]
    assert gain.value == pytest.approx(1 - found(rows, "random_weights")[None].value)
    assert gain.ci_low > 0.2
    assert found(rows, "model", "p_value", "over=random_weights")[None].value < 0.001


def test_the_layer_that_carries_a_relation_is_the_best_one():
    rows = measured(probe("vrc", "embedding")).rows()
    layers = found(rows, "model")
    assert list(layers) == [0, 1, 2]
    assert layers[SECRET_LAYER + 1].value == 1.0
    majority = found(rows, "majority")[None].value
    for row in [layers[0], layers[SECRET_LAYER], *found(rows, "random_weights").values()]:
        assert row.value <= max(majority, 1 - majority) + 1e-9  # inputs are all the same: one class for all
    assert found(rows, "mismatched")[SECRET_LAYER + 1].value == 1.0  # the secret is the image's
    assert columns_of(rows) >= {"visual_features", "control_task", "shuffled"}


@pytest.mark.parametrize(("name", "prober"), [(n, "attention") for n in PROBES] + [("vri", "visual_features")])
def test_rows_can_be_written_and_each_condition_has_every_metric(name: str, prober: str, tmp_path: Path):
    rows = measured(probe(name, prober)).rows()
    write_results(tmp_path / "results.csv", Subject("uniter", "tiny", "random", "listed", name, prober, 0), rows)
    records = read_results(tmp_path / "results.csv")
    assert all(0 <= record.value <= 1 for record in records if record.metric in FRACTIONS)
    by_condition = {row.condition: {each.metric for each in rows if each.condition == row.condition} for row in rows}
    assert all({"accuracy", "balanced_accuracy"} <= metrics for metrics in by_condition.values())
    own = {"vcd": ("phrase_only", "region_only"), "vri": ("visual_features",)}["vcd" if name in COREFERENCE else "vri"]
    assert {"chance", "majority", "shuffled", "control_task", *own} <= set(by_condition)
    assert ("model" in by_condition) == ("random_weights" in by_condition) == (prober != "visual_features")
    seeds = {row.prober_seed for row in rows if row.condition == own[0] and row.metric == "accuracy"}
    assert seeds == {None, 0, 1}


def test_the_mean_over_seeds_is_the_mean_and_classes_recalls_average_to_balanced_accuracy():
    rows = measured(probe("vcc")).rows()
    accuracies = [row for row in rows if (row.condition, row.metric) == ("model", "accuracy")]
    seeds = [row.value for row in accuracies if row.prober_seed is not None]
    assert found(rows, "model")[None].value == pytest.approx(sum(seeds) / len(seeds))
    recalls = [row.value for row in rows if (row.condition, row.metric) == ("model", "recall")]
    assert len(recalls) == 2
    assert found(rows, "model", "balanced_accuracy")[None].value == pytest.approx(sum(recalls) / 2)


def test_description_lengths_stand_beside_a_uniform_code():
    rows = measured(probe("vcd", with_length=True), sizes=(80, 20, 10)).rows()
    uniform = found(rows, "chance", "description_length")[None]
    assert uniform.value == uniform.n == 80 * 4
    assert found(rows, "model", "description_length")[None].value < 0.9 * uniform.value
    assert found(rows, "random_weights", "description_length")[None].value > 0.9 * uniform.value


def test_probers_of_one_probe_and_probes_of_one_kind_share_what_was_read(tmp_path: Path):
    calls: list[int] = []
    for name, prober in (("vcd", "attention"), ("vcd", "embedding"), ("vcc", "attention")):
        made = probe(name, prober)
        for model in (made.encoder, made.control):
            model.register_forward_hook(lambda *_: calls.append(1))
        measured(made, ActivationCache(tmp_path), sizes=(12, 8, 8))
        assert len(calls) == 2 * 3
    assert len(list(tmp_path.glob("[!.]*"))) == 6  # two models, three splits


def test_a_kept_activation_gives_the_same_table(tmp_path: Path):
    on_disk, in_memory = ActivationCache(tmp_path), ActivationCache()
    tables = [measured(probe("vcd"), cache, (12, 8, 8)).rows() for cache in (on_disk, on_disk, in_memory)]
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize(
    ("name", "option", "value", "least"),
    [
        *(("vcd", f"max_{part}_samples", value, "1") for part in ("train", "val", "test") for value in (0, -3)),
        *(("vcc", "resamples", value, "1,000") for value in (LEAST_RESAMPLES - 1, None)),
        *(("vri", name, 0, "1") for name in ("n_relations", "max_per_annotation", "max_pairs_per_type")),
    ],
)
def test_an_option_that_leaves_nothing_is_refused_by_name(name: str, option: str, value: int | None, least: str):
    with pytest.raises(ValueError, match=rf"^probe\.{option}={value}: expected a whole number from {least}$"):
        probe(name, **{option: value})
    assert ClusteredBootstrap(["a", "b"], LEAST_RESAMPLES).num_resamples == LEAST_RESAMPLES


def test_test_items_of_a_single_image_are_refused_before_a_model_runs():
    made = probe("vcd")
    made.encoder.register_forward_hook(lambda *_: pytest.fail("read first"))
    message = "dataset listed split=test: all 4 items are of image2000, which says nothing of other images; expected 2"
    with pytest.raises(ValueError, match=f"^{message} "):
        measured(made, sizes=(8, 8, 1))


def test_what_a_model_cannot_read_is_left_out_and_the_rest_is_measured(caplog: pytest.LogCaptureFixture):
    datasets = {part: secret_world(12, 1000 * place, part) for place, part in enumerate(("train", "val", "test"))}
    for dataset in datasets.values():
        dataset.samples[3] = replace(dataset.samples[3], caption=CAPTION + " and a dog" * 10)  # 38 pieces of 24
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    made = probe("vri")
    with caplog.at_level("INFO", "vlp.probes.trained"):
        made.measure(trainer, ProbeData(datasets, TOKENIZER, ActivationCache(), batch_size=4))
    assert "test: 22 items of 11 samples; 5 pair of a caption that is longer than the model reads" in caplog.text
    assert found(made.rows(), "model")[None].n == 22


def test_to_report_on_the_split_that_stops_is_refused():
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    train, val = secret_world(8), secret_world(8, 1000, "val")
    data = ProbeData({"train": train, "val": val, "test": val}, TOKENIZER, ActivationCache(), batch_size=4)
    message = "dataset listed split=val is given as val and as test; expected a split of its own for each"
    with pytest.raises(ValueError, match=f"^{message} "):
        probe("vcd").measure(trainer, data)
    assert not val.reads


@pytest.mark.parametrize("name", COREFERENCE)
def test_raw_features_are_refused_where_a_phrase_has_none(name: str):
    made = probe(name)
    message = f"probe {name} has no features of pairs for a prober; it has attention, states"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        type(made).check_prober(partial(VisualFeaturesProber), name)
    type(probe("vri")).check_prober(partial(VisualFeaturesProber), "vri")


@pytest.mark.parametrize("name", ["vcd", "vri"])
def test_another_question_is_refused(name: str):
    known = {"vcd": "linked, type", "vri": "related, predicate"}[name]
    with pytest.raises(ValueError, match=f"^question=why is none of {known}$"):
        probe(name, question="why")


@pytest.mark.parametrize("name", PROBES)
def test_a_text_only_model_is_refused(name: str):
    with pytest.raises(
        ValueError, match=r"^model bert reads text and has no region tokens; probe \w+Probe needs them$"
    ):
        probe(name, model="bert")


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("model", ["vilt", "soho", "swin_vlp"])
def test_a_model_of_pixels_is_refused(name: str, model: str):
    message = rf"^model {model} reads pixels and has no region tokens; probe \w+Probe needs them$"
    with pytest.raises(ValueError, match=message):
        probe(name, model=model)


@pytest.mark.parametrize("name", PROBES)
def test_needs_are_annotations_and_stand_in_the_config(name: str):
    assert probe(name).needs == frozenset(read_option("probe", name)["needs"])
    assert probe(name).needs <= ANNOTATIONS
