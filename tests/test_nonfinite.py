"""A loss or gradient that is not finite stops a training before it moves a weight, and is told by name."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins import MixedPrecision
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from tests.data.worlds import BAD, HandMade, Overflowing
from vlp.data.loading import PretrainingData
from vlp.data.masking import PairMismatch, TextMasking
from vlp.data.pairs import PretrainingBatch
from vlp.data.sample import Batch
from vlp.data.tokenisation import open_tokenizer
from vlp.models import build
from vlp.models.encoder import Encoding, VLEncoder
from vlp.nonfinite import Fault, NonFiniteError
from vlp.objectives.itm import ImageTextMatching
from vlp.objectives.mlm import MaskedLanguageModelling
from vlp.pretraining import Bundle, PretrainingModule


class Cliff(ImageTextMatching):
    """Has a finite loss with an infinite gradient where the bad sample is."""

    def forward(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> Tensor:
        loss = super().forward(encoding, batch, encoder)
        return loss + (loss - loss.detach()).sqrt() if f"sample{BAD}" in batch.sample_ids else loss


class Training:
    """A training of 24 pairs by 4, with a checkpoint after every step."""

    def __init__(self, folder: Path, train: HandMade | None = None, matching: type = ImageTextMatching, **trainer):
        torch.manual_seed(0)
        sizes = {"width": 16, "layers": 1, "feed_forward": 32, "heads": 2, "dropout": 0.1}
        encoder = build("uniter", feature_width=4, **sizes)
        parts = {
            "mlm": partial(MaskedLanguageModelling, corruption=TextMasking(0.5)),
            "itm": partial(matching, corruption=PairMismatch(0.0)),
        }
        optimizer = partial(torch.optim.AdamW, lr=1e-2)
        self.module = PretrainingModule(encoder, Bundle(parts, dict.fromkeys(parts, 1.0)), 3, optimizer)
        tokenizer = open_tokenizer()
        self.data = PretrainingData(train or HandMade(24), HandMade(4), tokenizer, self.module.corruptions, {}, 4)
        every_step = ModelCheckpoint(folder / "checkpoints", "{step}", every_n_train_steps=1, save_top_k=-1)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        options = {"max_epochs": 1, "use_distributed_sampler": False, "limit_val_batches": 0, **quiet, **trainer}
        self.trainer = pl.Trainer(default_root_dir=folder, callbacks=[every_step], **options)
        self.folder = folder

    def fit(self) -> PretrainingModule:
        self.trainer.fit(self.module, self.data)
        return self.module

    def stops(self) -> str:
        """Train, and return what the error says."""
        with pytest.raises(NonFiniteError) as error:
            self.fit()
        return str(error.value)

    @property
    def bad_batch(self) -> int:
        """Which batch of the first epoch holds the bad sample."""
        batches = self.data._training_order().batches(0)
        return next(i for i, batch in enumerate(batches) if BAD in [place.index for place in batch])

    @property
    def ids(self) -> list[str]:
        """The samples of that batch."""
        return [f"sample{place.index}" for place in self.data._training_order().batches(0)[self.bad_batch]]

    def newest(self) -> tuple[int, dict[str, Tensor]]:
        """Return step and weights of the newest checkpoint."""
        files = list((self.folder / "checkpoints").glob("*.ckpt"))
        newest = max((torch.load(file, weights_only=True) for file in files), key=lambda c: c["global_step"])
        return newest["global_step"], newest["state_dict"]

    def was_left_alone(self) -> bool:
        """Whether the weights are those of the newest checkpoint."""
        return all(torch.equal(value, self.module.state_dict()[name]) for name, value in self.newest()[1].items())


def faulty(folder: Path, step: int) -> dict:
    return torch.load(folder / "faults" / f"step-{step:07d}.pt", weights_only=True)


def test_a_loss_that_overflows_stops_the_run_before_the_step(tmp_path: Path):
    training = Training(tmp_path, Overflowing(24))
    said = training.stops()
    step = training.bad_batch + 1
    assert said.startswith(f"step {step} (epoch 0, batch {step - 1}): the loss of mlm and itm is not finite; losses ")
    assert f"losses loss=nan, mlm=nan, itm=nan; samples {', '.join(training.ids)}; its batch is kept in " in said
    assert said.endswith(str(tmp_path / "faults" / f"step-{step:07d}.pt"))
    assert training.newest()[0] == step - 1
    assert training.was_left_alone()


def test_the_batch_that_was_kept_gives_the_same_loss_again(tmp_path: Path):
    training = Training(tmp_path, Overflowing(24))
    training.stops()
    kept = faulty(tmp_path, training.bad_batch + 1)
    assert (kept["step"], kept["epoch"], kept["batch_idx"]) == (training.bad_batch + 1, 0, training.bad_batch)
    assert (kept["sample_ids"], kept["tasks"]) == (training.ids, [])
    assert all(value != value for value in kept["losses"].values())
    inputs = Batch(**kept["batch"].pop("inputs"))
    batch = PretrainingBatch(inputs, **kept["batch"])
    assert training.module._losses(batch)["mlm"].isnan()
    inputs.features[inputs.features > 1e30] = 1.0
    assert training.module._losses(batch)["mlm"].isfinite()


def test_a_gradient_that_overflows_alone_stops_the_run_before_the_step(tmp_path: Path):
    training = Training(tmp_path, matching=Cliff)
    said = training.stops()
    step = training.bad_batch + 1
    assert said.startswith(
        f"step {step} (epoch 0, batch {step - 1}): the gradient is not finite, first that of encoder."
    )
    assert " (norm nan), that of itm; losses loss=" in said
    assert training.newest()[0] == step - 1
    assert training.was_left_alone()
    kept = faulty(tmp_path, step)
    assert kept["objectives"] == ["itm"]
    assert kept["parameter"] in dict(training.module.named_parameters())
    assert kept["losses"]["loss"] == pytest.approx(kept["losses"]["mlm"] + kept["losses"]["itm"])


@pytest.mark.parametrize("options", [{"matching": Cliff}, {"train": Overflowing(24)}])
@pytest.mark.parametrize("batches_a_step", [2, 5])
def test_a_batch_that_is_only_accumulated_is_named_too(batches_a_step: int, options: dict, tmp_path: Path):
    training = Training(tmp_path, **options, accumulate_grad_batches=batches_a_step)
    said = training.stops()
    step = training.bad_batch // batches_a_step + 1
    assert said.startswith(f"step {step} (epoch 0, batch {training.bad_batch}): the ")
    assert faulty(tmp_path, step)["sample_ids"] == training.ids
    assert training.trainer.global_step == step - 1


def test_clipping_by_value_is_no_way_round(tmp_path: Path):
    options = {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}
    assert "the gradient is not finite" in Training(tmp_path, matching=Cliff, **options).stops()


def test_a_gradient_scaler_sees_to_gradients_itself_and_not_to_losses(tmp_path: Path):
    def scaled() -> dict:
        return {"plugins": [MixedPrecision("16-mixed", "cpu")], "gradient_clip_val": 1.0}

    training = Training(tmp_path / "gradient", matching=Cliff, **scaled())
    training.fit()
    assert training.trainer.global_step == 6
    assert all(value.isfinite().all() for value in training.module.state_dict().values())
    assert "the loss of mlm and itm is not finite" in Training(tmp_path / "loss", Overflowing(24), **scaled()).stops()


@pytest.mark.parametrize(
    "clipping", [{}, {"gradient_clip_val": 0.01}, {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}]
)
def test_gradients_are_clipped_as_lightning_clips_them(clipping: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ours = Training(tmp_path / "ours", **clipping).fit().state_dict()
    stock = pl.LightningModule.configure_gradient_clipping
    monkeypatch.setattr(PretrainingModule, "configure_gradient_clipping", stock)
    lightnings = Training(tmp_path / "stock", **clipping).fit().state_dict()
    assert all(torch.equal(value, lightnings[name]) for name, value in ours.items())


def test_a_held_out_loss_that_is_not_finite_is_logged_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    training = Training(tmp_path, limit_val_batches=1.0)
    training.data.val_pairs.dataset = Overflowing(12)
    (logged,) = training.trainer.validate(training.module, training.data, verbose=False)
    assert {name for name, value in logged.items() if value != value} == {"val/mlm", "val/itm", "val/loss"}
    said = [record.message for record in caplog.records if record.name == "vlp.pretraining"]
    assert said == [f"val/{name}=nan: a held-out loss is not finite, or nothing was asked" for name in ("mlm", "itm")]


def test_a_batch_that_cannot_be_kept_is_told_with_the_reason(tmp_path: Path):
    (tmp_path / "faults").write_text("in the way")
    said = Training(tmp_path, Overflowing(24)).stops()
    assert "the loss of mlm and itm is not finite" in said
    assert "its batch could not be kept: " in said
    assert str(tmp_path / "faults") in said


def test_every_process_of_a_run_stops(tmp_path: Path):
    strategy = DDPStrategy(start_method="fork", timeout=timedelta(seconds=60), find_unused_parameters=True)
    training = Training(tmp_path, Overflowing(24), devices=2, strategy=strategy)
    with pytest.raises(torch.multiprocessing.ProcessRaisedException) as error:
        training.fit()
    assert "NonFiniteError: step " in str(error.value)
    kept = [torch.load(file, weights_only=True) for file in (tmp_path / "faults").iterdir()]
    assert kept
    assert {file["step"] - 1 for file in kept} == {training.newest()[0] if (tmp_path / "checkpoints").is_dir() else 0}
    assert {file["world_size"] for file in kept} == {2}


def test_each_of_several_processes_says_which_it_is_and_keeps_its_own_batch():
    inputs = Batch(torch.ones(1, 1).long(), torch.ones(1, 1).bool(), torch.zeros(1, 1).long())
    batch = PretrainingBatch(inputs, torch.ones(1).bool(), torch.ones(1, 1).long(), sample_ids=("a",))
    fault = Fault(12, 1, 3, batch, {"loss": 0.5}, [], "encoder.a", float("inf"), rank=1, world_size=4)
    assert fault.file_name == "step-0000012-rank1.pt"
    assert str(fault) == (
        "step 12 (epoch 1, batch 3, process 1 of 4): the gradient is not finite, first that of encoder.a (norm inf), "
        "though that of each objective of this process is; losses loss=0.5; samples a"
    )


def test_a_long_list_of_samples_is_cut_short():
    inputs = Batch(torch.ones(7, 1).long(), torch.ones(7, 1).bool(), torch.zeros(7, 1).long())
    batch = PretrainingBatch(inputs, torch.ones(7).bool(), torch.ones(7, 1).long(), sample_ids=tuple("abcdefg"))
    said = str(Fault(1, 0, 0, batch, {"loss": float("inf"), "mlm": float("inf"), "itm": 0.25}))
    assert said == (
        "step 1 (epoch 0, batch 0): the loss of mlm is not finite; losses loss=inf, mlm=inf, itm=0.25; "
        "samples a, b, c, d, e and 2 more"
    )
