import csv
from functools import partial

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from tests.models.examples import small_encoder
from vlp.commands.train import train
from vlp.configs import option_names, read_option
from vlp.data.groups import Texts
from vlp.models import read_record
from vlp.pretraining import Bundle

TINY = [
    "size.width=16",
    "size.layers=1",
    "size.heads=2",
    "size.feed_forward=32",
    "size.text_layers=1",
    "size.vision_layers=1",
    "size.cross_layers=1",
    "dataset.size=48",
    "dataset.batch_size=8",
    "trainer.max_steps=5",
    "trainer.val_check_interval=5",
    "trainer.accelerator=cpu",
    "checkpoint.every_n_steps=5",
    "trainer.log_every_n_steps=1",
]


def config(*overrides):
    quiet = ("trainer.enable_progress_bar=false", "dataset.num_workers=0")
    with initialize_config_module("vlp.conf", version_base="1.3"):
        composed = compose("train", overrides=["experiment=scenes", *TINY, *quiet, *overrides])
        return OmegaConf.to_container(composed, resolve=True)


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def metrics(run_dir):
    with open(run_dir / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("reference")
    train(config(), run_dir)
    return run_dir


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_the_same_seed_gives_the_same_weights_to_the_bit_whatever_the_number_of_workers(
    num_workers, reference, tmp_path
):
    again = train(config(f"dataset.num_workers={num_workers}"), tmp_path)
    assert same(weights(again), weights(reference / "checkpoints" / "last.ckpt"))


def test_another_seed_gives_other_weights(reference, tmp_path):
    assert not same(weights(train(config("seed=1"), tmp_path)), weights(reference / "checkpoints" / "last.ckpt"))


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(reference, tmp_path):
    train(config("checkpoint.every_n_steps=2", "checkpoint.keep=3"), tmp_path)
    early = tmp_path / "checkpoints" / "step-0000002.ckpt"
    assert early.is_file()
    resumed = train(config(f"ckpt_path={early}"), tmp_path / "resumed")
    assert torch.load(resumed, weights_only=True)["global_step"] == 5
    assert same(weights(resumed), weights(reference / "checkpoints" / "last.ckpt"))


def test_a_continuation_does_as_the_checkpoint_was_trained_and_records_it(tmp_path):
    options = ("model=vl_bert_ctrl", "dataset.size=16", "trainer.max_steps=1", "trainer.val_check_interval=1")
    first = train(config(*options, "model.released_behaviour=true"), tmp_path / "first")
    further = train(config(*options, "trainer.max_steps=2", f"ckpt_path='{first.resolve()}'"), tmp_path / "further")
    assert torch.load(further, weights_only=True)["global_step"] == 2
    assert read_record(further)["model"]["released_behaviour"] is None
    assert read_record(further)["released_behaviour"] is True


def test_going_on_in_a_run_keeps_the_metrics_up_to_the_checkpoint(tmp_path, reference):
    train(config("checkpoint.every_n_steps=2", "checkpoint.keep=3"), tmp_path)
    train(config(f"ckpt_path={tmp_path}/checkpoints/step-0000002.ckpt"), tmp_path)
    steps = [int(row["step"]) for row in metrics(tmp_path) if row["train/mlm"]]
    assert steps == [1, 2, 3, 4, 5]
    assert [r["train/mlm"] for r in metrics(tmp_path) if r["train/mlm"]][2:] == [
        r["train/mlm"] for r in metrics(reference) if r["train/mlm"]
    ][2:]


def test_a_run_begins_with_the_weights_it_is_given_and_not_again_when_it_is_resumed(reference, tmp_path):
    given = f"initial_weights={{encoder:{reference}/checkpoints/last.ckpt}}"
    whole = train(config(given, "checkpoint.every_n_steps=2", "checkpoint.keep=3"), tmp_path)
    last, first = metrics(reference)[-1], metrics(tmp_path)[0]
    assert first["val/nmi_layer_1"] == last["val/nmi_layer_1"] != metrics(reference)[0]["val/nmi_layer_1"]
    resumed = train(config(given, f"ckpt_path={tmp_path}/checkpoints/step-0000002.ckpt"), tmp_path / "resumed")
    assert same(weights(resumed), weights(whole))


def test_metrics_hold_every_loss_unweighted_beside_its_baseline(reference):
    rows = metrics(reference)
    assert set(rows[0]) >= {
        *("epoch", "step", "train/loss", "train/mlm", "train/itm"),
        *("val/mlm", "val/mlm_baseline", "val/mlm_accuracy", "val/mlm_mean_image", "val/itm", "val/itm_accuracy"),
        *("val/itm_majority", "val/nmi_layer_0", "val/nmi_layer_1"),
    }
    trained = [row for row in rows if row["train/loss"]]
    assert [int(row["step"]) for row in trained] == [1, 2, 3, 4, 5]
    for row in trained:
        parts = sum(float(row[f"train/{name}"]) for name in ("mlm", "itm"))
        assert float(row["train/loss"]) == pytest.approx(parts, rel=1e-5)


def test_the_untrained_model_is_the_first_point_of_every_curve(reference):
    first = next(row for row in metrics(reference) if row["val/mlm"])
    assert int(first["step"]) == 0
    assert float(first["val/nmi_layer_1"]) == pytest.approx(1, abs=0.05)


def test_the_last_step_is_logged_however_rarely_steps_are(tmp_path):
    train(config("trainer.log_every_n_steps=100", "trainer.max_steps=2"), tmp_path)
    assert [row["step"] for row in metrics(tmp_path) if row["train/mlm"]] == ["2"]


def test_a_loss_counts_from_its_share_of_the_steps_on(tmp_path):
    train(config("+objective.parts.itm.begin=0.4"), tmp_path)
    rows = [row for row in metrics(tmp_path) if row["train/loss"]]
    counted = [("mlm",)] * 2 + [("mlm", "itm")] * 3  # the first two of five steps
    for row, names in zip(rows, counted, strict=True):
        assert float(row["train/itm"]) > 0
        assert float(row["train/loss"]) == pytest.approx(sum(float(row[f"train/{name}"]) for name in names), rel=1e-5)


def test_one_objective_a_step_is_drawn_by_weight(tmp_path):
    train(config("objective=uniter", "trainer.max_steps=6"), tmp_path)
    losses = ("train/mlm", "train/itm", "train/mrc_kl")
    rows = [row for row in metrics(tmp_path) if row["train/loss"]]
    assert {sum(bool(row[loss]) for loss in losses) for row in rows} == {1}


def test_a_run_of_pixels_and_a_dictionary_that_was_resumed_ends_where_an_uninterrupted_one_does(tmp_path):
    options = ("model=soho", "trainer.max_steps=4", "checkpoint.every_n_steps=2", "dataset.batch_size=8")
    whole = train(config(*options), tmp_path / "whole")
    half = tmp_path / "whole" / "checkpoints"
    (first,) = (path for path in half.glob("*.ckpt") if torch.load(path, weights_only=True)["global_step"] == 2)
    resumed = train(config(*options, f"ckpt_path='{first}'"), tmp_path / "resumed")
    assert same(weights(whole), weights(resumed))
    assert not torch.equal(*(weights(path)["encoder.embeddings.dictionary.entries"] for path in (first, whole)))


@pytest.mark.parametrize("model", [name for name in option_names("model") if name != "uniter"])
def test_every_model_trains_on_scenes(model, tmp_path):
    last = train(config(f"model={model}", "trainer.max_steps=2"), tmp_path)
    assert torch.load(last, weights_only=True)["vlp"]["model"]["name"] == model


@pytest.mark.parametrize("parser", [name for name in option_names("visual_parser") if name != "swin"])
def test_every_visual_parser_trains_on_scenes(parser, tmp_path):
    random = "objective.parts.mfr.module.corruption.masking=random"
    last = train(config("model=swin_vlp", f"visual_parser={parser}", random, "trainer.max_steps=2"), tmp_path)
    record = torch.load(last, weights_only=True)["vlp"]
    assert record["model"]["embeddings"]["parser"]["_target_"] == read_option("visual_parser", parser)["_target_"]


def test_a_checkpoint_says_what_it_takes_to_build_its_model(reference):
    record = torch.load(reference / "checkpoints" / "last.ckpt", weights_only=True)["vlp"]
    assert record["feature_width"] == 64
    assert record["vocab_size"] == 1092
    assert record["tokenizer"] is None
    assert record["objective"]["combine"] == "sum"
    assert record["dataset"] == "scenes"


def test_dropout_is_active_while_training(tmp_path, reference):
    dropped = train(config("size.dropout=0.1"), tmp_path)
    assert not same(weights(dropped), weights(reference / "checkpoints" / "last.ckpt"))


def test_dropout_is_a_function_of_seed_and_step(tmp_path):
    first, again = (train(config("size.dropout=0.3", f"dataset.num_workers={n}"), tmp_path / str(n)) for n in (0, 1))
    assert same(weights(first), weights(again))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"mlm": partial(dict)}, {"mlm": 1.0}, "mix"), "objective.combine='mix': expected 'sum' or 'sample'"),
        (({}, {}, "sum"), "objective.parts is empty: there is nothing to train on"),
        (
            ({"mlm": partial(dict)}, {"mlm": 1.0}, "sum", None, {"mlm": 1.0}),
            "objective.parts.mlm.begin=1.0: expected a share in [0, 1), and combine=sum",
        ),
        (
            ({"mlm": partial(dict)}, {"mlm": 1.0}, "sample", Texts()),
            "objective.texts=Texts(matched=2, unmatched=2): texts of one image need combine=sum, got sample",
        ),
    ],
)
def test_an_impossible_bundle_is_refused(arguments, message):
    with pytest.raises(ValueError) as error:
        Bundle(*arguments)
    assert str(error.value) == message


@pytest.mark.parametrize("names", [["itm"], ["vla"], ["itm", "vla"]])
def test_matched_texts_are_told_from_unmatched_ones_only_where_there_are_both(names):
    encoder, parts = small_encoder("swin_vlp"), config("model=swin_vlp")["objective"]["parts"]
    objective = {"combine": "sum", "parts": {name: parts[name] for name in ("mlm", *names)}}
    for texts in (None, {"unmatched": 1}):
        assert set(Bundle.from_config({**objective, "texts": texts}).build(encoder, None)) == {"mlm", *names}
    with pytest.raises(ValueError) as error:
        Bundle.from_config({**objective, "texts": {"unmatched": 0}}).build(encoder, None)
    assert str(error.value) == (
        f"objective.texts.unmatched=0: {', '.join(names)} would have matched texts alone; expected 1 or more, or "
        + " and ".join(f"objective.parts.{name}=null" for name in names)
    )
    alone = {**objective, "parts": {"mlm": parts["mlm"]}, "texts": {"unmatched": 0}}
    assert set(Bundle.from_config(alone).build(encoder, None)) == {"mlm"}
