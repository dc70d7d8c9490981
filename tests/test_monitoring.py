from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.strategies import DDPStrategy

from tests.data.worlds import BAD, HandMade, Overflowing
from vlp.data import loading
from vlp.data.loading import PretrainingData
from vlp.data.masking import PairMismatch, TextMasking
from vlp.data.statistics import mean_feature, with_mean_feature
from vlp.data.tokenisation import open_tokenizer
from vlp.metrics import SampleMean, normalized_mutual_information
from vlp.models import build
from vlp.monitoring import HeldOutCurves, LossCurves
from vlp.objectives.itm import ImageTextMatching
from vlp.objectives.mlm import MaskedLanguageModelling
from vlp.observe import Site, record
from vlp.pretraining import Bundle, PretrainingModule

QUIET = {
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
    "use_distributed_sampler": False,
}


def pretraining(model="uniter", weights=(1.0, 1.0), combine="sum", lr=1e-3):
    torch.manual_seed(0)
    encoder = build(model, feature_width=4, width=16, layers=2, feed_forward=32, heads=2, dropout=0.0)
    for parameter in encoder.parameters():  # large weights mix the modalities, which new ones do not
        torch.nn.init.normal_(parameter)
    parts = {
        "mlm": lambda encoder, num_classes: MaskedLanguageModelling(encoder, TextMasking(0.5)),
        "itm": lambda encoder, num_classes: ImageTextMatching(encoder, PairMismatch(0.0)),
    }
    if model == "bert":
        del parts["itm"]
    bundle = Bundle(parts, dict(zip(parts, weights, strict=False)), combine)
    return PretrainingModule(encoder, bundle, 3, partial(torch.optim.AdamW, lr=lr))


def pairs_for(module, size=12, val=None):
    data, pixel_input = (HandMade(size), val or HandMade(12)), module.encoder.pixel_input
    return PretrainingData(*data, open_tokenizer(), module.corruptions, {}, batch_size=4, pixel_input=pixel_input)


def validated(model="uniter", num_samples=256, val=None, **options):
    module = pretraining(model, **options)
    data = pairs_for(module, val=val)
    trainer = pl.Trainer(callbacks=[HeldOutCurves(num_samples)], logger=False, enable_checkpointing=False, **QUIET)
    (logged,) = trainer.validate(module, data, verbose=False)
    return module, data, logged


class Rows(DummyLogger):
    """Keeps what is logged."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append({**metrics, "step": step})


def fitted(folder, callbacks=(), ckpt_path=None, lr=1e-3, **options):
    """Train on 6 batches; return the rows of losses that were logged of it."""
    module, logger = pretraining(lr=lr), Rows()
    options = {"max_epochs": 1, "limit_val_batches": 0, "logger": logger, "default_root_dir": folder, **options}
    trainer = pl.Trainer(callbacks=[LossCurves(), *callbacks], **QUIET, **options)
    trainer.fit(module, pairs_for(module, 24), ckpt_path=ckpt_path, weights_only=True)
    return [row for row in logger.rows if "train/loss" in row]


def steps(rows):
    return [row["step"] for row in rows]


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (4, [4, 6]), (50, [6])])
def test_losses_are_logged_at_every_nth_step_and_at_the_last(every, expected, tmp_path):
    assert steps(fitted(tmp_path, log_every_n_steps=every)) == expected


def test_a_row_holds_every_loss_and_the_epoch(tmp_path):
    (row,) = fitted(tmp_path, log_every_n_steps=6)
    assert set(row) == {"step", "epoch", "train/loss", "train/mlm", "train/itm"}
    assert row["epoch"] == 0
    assert row["train/loss"] == pytest.approx(row["train/mlm"] + row["train/itm"])


def test_a_step_of_several_batches_is_logged_once_with_the_losses_of_its_last(tmp_path):
    options = {"log_every_n_steps": 1, "lr": 0.0}  # nothing is learned, so that losses are the batches' own
    batches = fitted(tmp_path, **options)
    together = fitted(tmp_path, accumulate_grad_batches=2, **options)
    assert [{**row, "step": 2 * row["step"]} for row in together] == batches[1::2]


class RowsAtSaving(ModelCheckpoint):
    """Notes which steps were logged when a checkpoint is written."""

    def __init__(self, folder):
        super().__init__(folder, "{step}", every_n_train_steps=2, save_top_k=-1)
        self.seen = {}

    def _save_checkpoint(self, trainer, filepath):
        self.seen[trainer.global_step] = steps(row for row in trainer.logger.rows if "train/loss" in row)
        super()._save_checkpoint(trainer, filepath)


def test_the_row_of_a_step_is_there_before_its_checkpoint(tmp_path):
    saving = RowsAtSaving(tmp_path)
    fitted(tmp_path, callbacks=[saving], log_every_n_steps=1)
    assert saving.seen == {2: [1, 2], 4: [1, 2, 3, 4], 6: [1, 2, 3, 4, 5, 6]}


def test_the_step_that_training_goes_on_from_is_not_logged_again(tmp_path):
    fitted(tmp_path, callbacks=[RowsAtSaving(tmp_path)], log_every_n_steps=2)
    rows = fitted(tmp_path, ckpt_path=tmp_path / "step=2.ckpt", log_every_n_steps=2, accumulate_grad_batches=2)
    assert 2 not in steps(rows)


@pytest.mark.parametrize(("combine", "factors"), [("sum", (3.0, 0.5)), ("sample", (6 / 7, 1 / 7))])
def test_the_held_out_loss_is_what_training_minimises(combine, factors):
    logged = validated(weights=(3.0, 0.5), combine=combine)[2]
    expected = factors[0] * logged["val/mlm"] + factors[1] * logged["val/itm"]
    assert logged["val/loss"] == pytest.approx(expected, rel=1e-6)


def test_the_blind_curve_is_the_word_loss_with_the_mean_feature_everywhere():
    module, data, logged = validated()
    mean = mean_feature(data.val_pairs.dataset)
    objective = module.objectives["mlm"]
    with torch.no_grad():
        for batch in data.val_dataloader():
            batch.inputs.features = with_mean_feature(batch.inputs.features, batch.inputs.region_mask, mean)
            objective.update(module.eval().encoder(batch.inputs), batch, module.encoder)
    assert logged["val/mlm_mean_image"] == pytest.approx(objective.compute()[""].item(), rel=1e-5)
    assert logged["val/mlm_mean_image"] != pytest.approx(logged["val/mlm"], rel=1e-5)


def nmi_of_each(module, data):
    """Return the NMI of each held-out pair's content tokens at the last layer."""
    values = []
    with torch.no_grad():
        for batch in data.val_dataloader():
            encoding = module.eval().encoder(batch.inputs)
            joint = torch.cat([encoding.text, encoding.vision], 1)
            ids, tokenizer = batch.inputs.input_ids, open_tokenizer()
            content = batch.inputs.text_mask & (ids != tokenizer.cls_id) & (ids != tokenizer.sep_id)
            mask = torch.cat([content, batch.inputs.region_mask], 1)
            is_vision = torch.arange(joint.shape[1]).expand_as(mask) >= ids.shape[1]
            values.append(normalized_mutual_information(joint, is_vision, mask))
    return torch.cat(values)


def test_the_fusion_curve_is_the_nmi_of_content_tokens_at_each_layer():
    module, data, logged = validated()
    assert logged["val/nmi_layer_2"] < 0.9
    assert logged["val/nmi_layer_2"] == pytest.approx(nmi_of_each(module, data).nanmean().item(), abs=1e-6)
    assert {name for name in logged if "nmi" in name} == {f"val/nmi_layer_{k}" for k in range(3)}


def test_only_the_first_pairs_are_looked_at():
    assert validated(num_samples=4)[2]["val/nmi_layer_2"] != validated(num_samples=12)[2]["val/nmi_layer_2"]


@pytest.mark.parametrize("tasks", [{}, {"mlm": 1.0, "itm": 1.0}])
@pytest.mark.parametrize(("world_size", "num_samples"), [(1, 8), (2, 8), (3, 9), (2, 100)])
def test_any_number_of_processes_looks_at_the_same_pairs(world_size, num_samples, tasks, monkeypatch):
    looked_at = []
    monkeypatch.setattr(HeldOutCurves, "_see_words", lambda *_: None)
    monkeypatch.setattr(HeldOutCurves, "_see_fusion", lambda *arguments: looked_at.extend(arguments[2].sample_ids))
    curves, module = HeldOutCurves(num_samples), pretraining()
    curves.nmi = SampleMean((3,))
    data = PretrainingData(HandMade(22), HandMade(22), open_tokenizer(), {}, tasks, batch_size=4)
    for rank in range(world_size):
        monkeypatch.setattr(loading, "process_rank", lambda rank=rank: (rank, world_size))
        trainer = SimpleNamespace(datamodule=data, world_size=world_size, global_rank=rank)
        for batch_idx, batch in enumerate(data.val_dataloader()):
            curves.on_validation_batch_end(trainer, module, None, batch, batch_idx)
    expected = {8: 8, 9: 12, 100: 22}[num_samples]
    assert sorted(looked_at) == sorted(f"sample{index}" for index in range(expected))


def held_out_on(world_size, size, tasks):
    """Return what is logged of ``size`` held-out pairs on one process or two."""
    module = pretraining(combine="sample" if tasks else "sum")
    data = PretrainingData(HandMade(24), HandMade(size), open_tokenizer(), module.corruptions, tasks, batch_size=4)
    strategy = DDPStrategy(start_method="fork", timeout=timedelta(seconds=60)) if world_size > 1 else "auto"
    options = {"logger": False, "enable_checkpointing": False, "devices": world_size, "strategy": strategy, **QUIET}
    (logged,) = pl.Trainer(callbacks=[HeldOutCurves(8)], **options).validate(module, data, verbose=False)
    return logged


@pytest.mark.parametrize("tasks", [{}, {"mlm": 2.0, "itm": 1.0}])
@pytest.mark.parametrize("size", [22, 13, 3])  # 6, 4 and 1 batches, the last one partial
def test_two_processes_log_what_one_does_to_the_last_digit(size, tasks):
    alone = held_out_on(1, size, tasks)
    assert len(alone) == 11
    assert held_out_on(2, size, tasks) == alone


def test_training_goes_on_where_a_process_has_no_held_out_batch(tmp_path):
    module = pretraining()
    strategy = DDPStrategy(start_method="fork", timeout=timedelta(seconds=60), find_unused_parameters=True)
    options = {"max_steps": 2, "val_check_interval": 1, "logger": False, "enable_checkpointing": False, "devices": 2}
    trainer = pl.Trainer(callbacks=[HeldOutCurves(8)], strategy=strategy, **options, **QUIET)
    trainer.fit(module, pairs_for(module, 24, HandMade(3)))
    assert trainer.callback_metrics["val/loss"].isfinite()


def test_a_pair_whose_states_are_not_finite_has_no_place_in_the_mean():
    module, data, _ = validated()
    others = torch.arange(12) != BAD
    logged = validated(val=Overflowing(12))[2]
    assert logged["val/nmi_layer_2"] == pytest.approx(nmi_of_each(module, data)[others].nanmean().item(), abs=1e-6)


def test_a_text_only_model_has_neither_curve():
    assert not [name for name in validated("bert")[2] if "nmi" in name or "mean_image" in name]


def test_a_model_of_pixels_has_the_curve_of_layers_alone():
    module, data, logged = validated("vilt")
    assert [name for name in logged if "nmi" in name] == [f"val/nmi_layer_{layer}" for layer in range(3)]
    assert "val/mlm_mean_image" not in logged
    batches = list(data.val_dataloader())
    tokenizer = open_tokenizer()
    hidden = [record(module.encoder.eval(), batch.inputs).hidden[Site("joint", 1, "joint")] for batch in batches]
    values = []
    for batch, states in zip(batches, hidden, strict=True):
        length = batch.inputs.text_mask.shape[1]
        ids = batch.inputs.input_ids
        words = batch.inputs.text_mask & (ids != tokenizer.cls_id) & (ids != tokenizer.sep_id)
        patches = states.shape[1] - length - 1  # without the class token
        mask = torch.cat([words, torch.zeros(len(batch), 1).bool(), torch.ones(len(batch), patches).bool()], dim=1)
        is_vision = torch.arange(states.shape[1]).expand_as(mask) >= length
        values.append(normalized_mutual_information(states, is_vision, mask))
    assert logged["val/nmi_layer_2"] == pytest.approx(torch.cat(values).mean().item(), abs=1e-5)
