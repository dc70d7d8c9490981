"""The trainers that `conf/trainer` describes."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from tests.data.worlds import HandMade
from vlp.configs import read_option
from vlp.data.loading import PretrainingData
from vlp.data.masking import PairMismatch, TextMasking
from vlp.data.tokenisation import open_tokenizer
from vlp.models import build
from vlp.objectives.itm import ImageTextMatching
from vlp.objectives.mlm import MaskedLanguageModelling
from vlp.pretraining import Bundle, PretrainingModule


@pytest.mark.parametrize("model", ["uniter", "lxmert"])
def test_the_ddp_strategy_trains_models_of_which_some_weights_are_not_reached(model):
    """One process is enough: DDP then looks for unused weights just as with many."""
    encoder = build(model, feature_width=4, width=16, layers=1, heads=2, feed_forward=32, vocab_size=None)
    parts = {
        "mlm": partial(MaskedLanguageModelling, corruption=TextMasking()),
        "itm": partial(ImageTextMatching, corruption=PairMismatch()),
    }
    bundle = Bundle(parts, dict.fromkeys(parts, 1.0), "sample")
    module = PretrainingModule(encoder, bundle, 3, partial(torch.optim.AdamW, lr=1e-3))
    data = PretrainingData(
        HandMade(32), HandMade(4), open_tokenizer(), module.corruptions, bundle.task_weights, batch_size=4
    )
    trainer = pl.Trainer(
        strategy=read_option("trainer", "ddp")["strategy"],
        accelerator="cpu",
        devices=1,
        max_steps=4,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    try:
        trainer.fit(module, data)
    finally:
        torch.distributed.destroy_process_group()
    assert trainer.global_step == 4
