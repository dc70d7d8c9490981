"""The probe of pre-training heads against the objectives' own account of the same pairs."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

from tests.data.worlds import HandMade
from tests.probes.subjects import RELEASED, TOKENIZER, encoder, pretrained, put, released_weights, save
from vlp.data.loading import EveryBatch
from vlp.data.masking import IGNORE
from vlp.data.pairs import PretrainingBatch, PretrainingPairs
from vlp.data.sample import Batch, Regions, Sample
from vlp.models.checkpoints import read_heads
from vlp.pretraining import PretrainingModule
from vlp.probes.pretraining_heads import PretrainingProbe, WrittenHeads, bits_a_sample, trained_heads
from vlp.results import Row


class OneImage(HandMade):
    """The hand-made data with one and the same region content in every image."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        regions = sample.regions
        assert regions is not None
        same = Regions(regions.boxes, torch.full_like(regions.features, 0.5))
        return Sample(sample.image_id, sample.caption, sample.width, sample.height, sample.sample_id, same)


def rows_of(module: PretrainingModule, folder: Path, dataset: HandMade | None = None, batch_size: int = 4) -> list[Row]:
    probe = PretrainingProbe(module.encoder, encoder(seed=7), seed=3, weights=save(module, folder / "model.ckpt"))
    return put(probe, dataset or HandMade(size=12), batch_size).rows()


def value(rows: list[Row], condition: str, metric: str, parameter: str = "") -> float:
    (row,) = (r for r in rows if (r.condition, r.metric, r.parameter) == (condition, metric, parameter))
    return row.value


def held_out(module: PretrainingModule, task: str) -> list[PretrainingBatch]:
    pairs = PretrainingPairs(HandMade(size=12), TOKENIZER, module.corruptions, seed=3)
    return [pairs[places] for places in EveryBatch(12, 5, [(task,)])]


def test_accuracy_is_what_the_objective_counts_on_the_same_pairs(tmp_path: Path):
    module = pretrained()
    objective = module.objectives["itm"]
    for batch in held_out(module, "itm"):
        objective.update(module.encoder(batch.inputs), batch, module.encoder)
    counted = objective.compute()
    rows = rows_of(module, tmp_path)
    assert value(rows, "model", "accuracy") == pytest.approx(counted["accuracy"].item())
    assert value(rows, "majority", "accuracy") == pytest.approx(counted["majority"].item())


def test_the_first_samples_alone_can_be_asked(tmp_path: Path):
    path, module = tmp_path / "model.ckpt", pretrained()
    probe = PretrainingProbe(module.encoder, encoder(seed=7), seed=3, weights=save(module, path), max_samples=5)
    assert {row.n for row in put(probe, HandMade(size=12)).rows()} == {5}


def test_bits_are_the_objectives_loss_a_sample(tmp_path: Path):
    module = pretrained()
    objective = module.objectives["mlm"]
    losses = []
    for batch in held_out(module, "mlm"):
        encoding = module.encoder(batch.inputs)
        for row in range(len(batch)):
            alone = torch.full_like(batch.text_labels, IGNORE)
            alone[row] = batch.text_labels[row]
            one = PretrainingBatch(batch.inputs, batch.is_matched, alone)
            losses.append(objective(encoding, one, module.encoder).item() / math.log(2))
    assert value(rows_of(module, tmp_path), "model", "bits", "image=own") == pytest.approx(sum(losses) / 12, rel=1e-5)


def test_the_difference_is_paired(tmp_path: Path):
    rows = rows_of(pretrained(), tmp_path)
    for condition in ("model", "random_weights"):
        own, mean = (value(rows, condition, "bits", f"image={image}") for image in ("own", "mean"))
        assert value(rows, condition, "bits", "image=mean-own") == pytest.approx(mean - own, abs=1e-9)
    widths = {r.parameter: r.ci_high - r.ci_low for r in rows if (r.condition, r.metric) == ("model", "bits")}
    assert widths["image=mean-own"] < widths["image=own"]


def test_an_image_that_is_the_mean_already_is_worth_nothing(tmp_path: Path):
    rows = rows_of(pretrained(), tmp_path, OneImage(size=12))
    assert value(rows, "model", "bits", "image=mean-own") == 0.0


def test_an_image_that_matters_is_worth_something(tmp_path: Path):
    assert value(rows_of(pretrained(), tmp_path), "model", "bits", "image=mean-own") != 0.0


def test_a_sample_without_hidden_words_has_no_bits():
    module = pretrained()
    batch = held_out(module, "mlm")[0]
    batch.text_labels[1] = IGNORE
    bits = bits_a_sample(module.objectives["mlm"], module.encoder(batch.inputs), batch, module.encoder)
    assert bits.isnan().tolist() == [False, True, False, False, False]


def test_annotated_truth_decides_what_matches(tmp_path: Path):
    rows = rows_of(pretrained(), tmp_path, HandMade(size=12, truth_annotated=True))
    assert value(rows, "majority", "accuracy") == 0.5
    assert {r.n for r in rows if r.metric == "bits"} == {6}  # words of mismatched pairs are not asked for


@pytest.mark.parametrize(("objective", "metrics"), [("itm", {"accuracy"}), ("mlm", {"bits"})])
def test_one_head_gives_its_rows(objective: str, metrics: set[str], tmp_path: Path):
    rows, both = rows_of(pretrained("uniter", objective), tmp_path), rows_of(pretrained(), tmp_path)
    assert {row.metric for row in rows} == metrics
    assert [row.label for row in rows] == [row.label for row in both if row.metric in metrics]


def test_objectives_of_which_none_is_asked_are_named(tmp_path: Path):
    module = pretrained("uniter", "mrc_kl")
    path = save(module, tmp_path / "model.ckpt")
    message = f"{path} has heads mrc_kl; probe pretraining asks those of mlm and itm"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PretrainingProbe(module.encoder, module.encoder, weights=path)


@pytest.mark.parametrize("name", ["vilt", "soho", "swin_vlp"])
def test_models_of_pixels_are_asked_with_the_mean_colour(name: str, tmp_path: Path):
    module = pretrained(name)
    probe = PretrainingProbe(module.encoder, encoder(name, seed=7), seed=3, weights=save(module, tmp_path / "a.ckpt"))
    seen: list[Batch] = []
    module.encoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    rows = put(probe, HandMade(size=6), batch_size=6).rows()
    assert value(rows, "model", "bits", "image=mean-own") != 0.0
    assert {row.n for row in rows} == {6}
    _, own, mean = (batch.pixels for batch in seen)
    assert own is not None
    assert mean is not None
    assert mean.flatten(2).std(2).max() < 1e-6 < own.flatten(2).std(0).max()
    assert mean[0, :, 0, 0].tolist() == pytest.approx(own.mean((0, 2, 3)).tolist(), abs=1e-5)


@pytest.mark.parametrize("name", RELEASED)
def test_heads_of_released_weights_are_asked_as_their_paper_has_it(name: str, tmp_path: Path):
    model, path = released_weights(name, tmp_path)
    written = WrittenHeads.read(path)
    words, matching = trained_heads(written.build(model), written)
    assert words is not None
    assert matching is not None
    found = {
        **{f"mlm.{key}": tensor for key, tensor in words.state_dict().items()},
        **{f"itm.{key}": tensor for key, tensor in matching.state_dict().items()},
    }
    released = read_heads(path)
    assert all(torch.equal(released[key], tensor) for key, tensor in found.items())
    assert matching.corruption.replace == ("text" if name in ("lxmert", "visualbert") else "image")
    assert words.corruption.at_least_one == (name == "uniter")
    rows = put(PretrainingProbe(model, encoder(name, seed=7), weights=path), HandMade(size=6)).rows()
    assert {(row.condition, row.metric) for row in rows} >= {("model", "accuracy"), ("model", "bits")}


def test_released_weights_with_half_a_head_are_refused(tmp_path: Path):
    model, path = released_weights("uniter", tmp_path)
    tensors = torch.load(path)
    del tensors["cls.predictions.bias"]
    torch.save(tensors, path)
    message = f"{path} lacks pre-training heads that those of model uniter have: mlm.head.bias"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PretrainingProbe(model, encoder(seed=7), weights=path)


def test_weights_without_heads_are_refused(tmp_path: Path):
    path = tmp_path / "encoder.ckpt"
    torch.save({"state_dict": encoder().state_dict()}, path)
    expected = "expected a .ckpt of train.py, or released weights with theirs"
    message = f"{path} has no pre-training heads, which probe pretraining asks; {expected}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PretrainingProbe(encoder(), encoder(), weights=path)


def test_a_checkpoint_that_lost_a_head_is_refused(tmp_path: Path):
    module = pretrained()
    lost = next(key for key in module.state_dict() if key.startswith("objectives.itm."))
    state = {key: tensor for key, tensor in module.state_dict().items() if key != lost}
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": state, "vlp": module.record}, path)
    message = f"{path} lacks pre-training heads that its record lists: {lost.removeprefix('objectives.')}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PretrainingProbe(encoder(), encoder(), weights=path)


def test_random_weights_are_refused():
    message = "probe pretraining asks a model's pre-training heads, and weights=random has none"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PretrainingProbe(encoder(), encoder(), weights=None)


def test_a_text_only_model_is_refused(tmp_path: Path):
    message = "probe pretraining asks what the image is worth, and model bert reads none"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PretrainingProbe(encoder("bert"), encoder("bert"), weights=save(pretrained(), tmp_path / "model.ckpt"))


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"combine": "sum"}, "objective: found {'combine': 'sum'}, expected combine and parts"),
        ({"combine": "sum", "parts": {"mlm": {"module": 3, "weight": 1}}}, "objective: found {'combine': 'sum', "),
        (
            {"combine": "sum", "parts": {"mlm": {"module": {"_target_": "torch.nn.Linear"}, "weight": 1}}},
            "torch.nn.Linear is not allowed at objective.parts.mlm.module",
        ),
        (
            {"combine": "sum", "parts": {"mlm": {"module": {"_target_": "os.mkdir", "path": "ran"}, "weight": 1}}},
            "os.mkdir is not allowed at objective.parts.mlm.module",
        ),
    ],
    ids=range(4),
)
def test_a_checkpoint_that_would_build_anything_but_objectives_is_refused(
    tmp_path: Path, objective: dict[str, object], message: str
):
    file = save(pretrained(), tmp_path / "model.ckpt")
    contents = torch.load(file, weights_only=True)
    torch.save({**contents, "vlp": {**contents["vlp"], "objective": objective}}, file)
    with pytest.raises(ValueError) as error:
        PretrainingProbe(pretrained().encoder, encoder(seed=7), weights=file)
    assert str(error.value).startswith(f"{file}, record: {message}")
