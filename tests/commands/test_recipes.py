"""Recipes at a paper's scale, composed and built without memory: what they train, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from vlp.commands.train import build_trainer
from vlp.configs import instantiate
from vlp.data.masking import CellMasking
from vlp.models import build_from_config
from vlp.models.checkpoints.initial import NOTHING
from vlp.models.cost import parser_cost
from vlp.optimisation import Milestones
from vlp.pretraining import Bundle, PretrainingModule

STEPS_AN_EPOCH = 6000
NO_CELLS = ("objective.parts.mfr=null", "model.embeddings.masked_cell=false")
"""Nothing is hidden of an image."""


@dataclass(frozen=True)
class Recipe:
    """A resolved ``conf/train.yaml``, and what it builds."""

    config: dict[str, Any]
    module: PretrainingModule
    trainer: pl.Trainer

    def rates(self, step: int) -> set[float]:
        """Return the learning rates at a step of the optimiser, to six digits."""
        optimisation = self.module.configure_optimizers()
        groups, scheduler = optimisation["optimizer"].param_groups, optimisation["lr_scheduler"]["scheduler"]
        factor = scheduler.lr_lambdas[0](step)
        return {float(f"{group['initial_lr'] * factor:.6g}") for group in groups}


Compose = Callable[..., Recipe]


@pytest.fixture
def recipe(tmp_path) -> Compose:
    """Return a function that composes a recipe with overrides."""

    def composed(*overrides: str) -> Recipe:
        with initialize_config_module("vlp.conf", version_base="1.3"):
            config = OmegaConf.to_container(
                compose("train", overrides=[*overrides, "optimizer.fused=false"]), resolve=True
            )
        with torch.device("meta"):
            module = PretrainingModule(
                build_from_config(config["model"]),
                Bundle.from_config(config["objective"]),
                None,
                instantiate(config["optimizer"]),
                warmup=config["warmup"],
                milestones=Milestones(**config["milestones"]),
                learning_rates=config["learning_rates"],
            )
        config["trainer"]["accelerator"] = "cpu"
        trainer = build_trainer(config, tmp_path)
        batches = STEPS_AN_EPOCH * trainer.accumulate_grad_batches
        module.trainer = SimpleNamespace(  # has been told how much data there are
            estimated_stepping_batches=STEPS_AN_EPOCH * trainer.max_epochs,
            num_training_batches=batches,
            accumulate_grad_batches=trainer.accumulate_grad_batches,
            fit_loop=SimpleNamespace(setup_data=lambda: None),
        )
        return Recipe(config, module, trainer)

    return composed


def test_visual_parsing_is_pre_trained_as_the_paper_says(recipe: Compose):
    found = recipe("experiment=visual_parsing/pretrain")
    trainer, texts = found.trainer, found.config["objective"]["texts"]
    assert found.config["dataset"]["name"] == "coco_vg"
    assert found.config["dataset"]["batch_size"] * trainer.accumulate_grad_batches * trainer.world_size == 512
    assert texts == {"matched": 2, "unmatched": 2, "longest": 16}
    assert (trainer.max_epochs, trainer.max_steps, trainer.gradient_clip_val) == (40, -1, 10)
    assert found.module.weights == {"mlm": 1, "itm": 1, "mfr": 0.01, "vla": 0.1}
    corruption = found.module.corruptions["mfr"]
    assert isinstance(corruption, CellMasking)
    assert (corruption.masking, corruption.number(num_cells=144)) == ("parsed", 7)


def test_visual_parsing_has_two_rates_that_rise_over_500_steps_and_fall_at_epochs_25_and_35(recipe: Compose):
    found = recipe("experiment=visual_parsing/pretrain")
    assert found.rates(0) == {1e-8, 1e-7}
    assert found.rates(249) == {2.5e-6, 2.5e-5}
    assert found.rates(499) == found.rates(25 * STEPS_AN_EPOCH - 1) == {5e-6, 5e-5}
    assert found.rates(25 * STEPS_AN_EPOCH) == found.rates(35 * STEPS_AN_EPOCH - 1) == {5e-7, 5e-6}
    assert found.rates(35 * STEPS_AN_EPOCH) == found.rates(40 * STEPS_AN_EPOCH - 1) == {5e-8, 5e-7}


def test_visual_parsing_decays_matrices_alone_and_learns_the_parser_slowly(recipe: Compose):
    module = recipe("experiment=visual_parsing/pretrain").module
    optimizer = module.configure_optimizers()["optimizer"]
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names.pop(id(parameter))
            assert group["initial_lr"] == (5e-6 if name.startswith("encoder.embeddings.parser.") else 5e-5), name
            is_spared = parameter.squeeze().ndim < 2 or name.endswith("relative_position_bias_table")
            assert group["weight_decay"] == (0 if is_spared else 0.01), name
    assert names == {}


@pytest.mark.parametrize(
    ("overrides", "parser", "size", "cells", "layers", "giga"),
    [
        (["pretrain"], "timm:swin_base_patch4_window12_384.ms_in22k_ft_in1k", 384, 144, 12, 47.08),
        (["pretrain_224"], "timm:swin_tiny_patch4_window7_224.ms_in1k", 224, 49, 3, 4.49),
        (["pretrain_224", "visual_parser=resnet50", *NO_CELLS], "timm:resnet50.tv_in1k", 224, 49, 3, 4.09),
        (["pretrain_224", "visual_parser=resnet101", *NO_CELLS], "timm:resnet101.tv_in1k", 224, 49, 3, 7.80),
    ],
)
def test_visual_parsing_is_of_the_papers_size(overrides, parser, size, cells, layers, giga, recipe: Compose):
    name, *more = overrides
    found = recipe(f"experiment=visual_parsing/{name}", *more)
    encoder = found.module.encoder
    pixels = encoder.pixel_input
    assert found.config["initial_weights"]["embeddings.parser"] == parser
    assert (pixels.shortest, (pixels.shortest // pixels.multiple) ** 2) == (size, cells)
    assert (len(encoder.stack.layers), encoder.width) == (layers, 768)
    assert parser_cost(encoder.embeddings.parser, size).macs / 1e9 == pytest.approx(giga, abs=0.005)


def test_a_parser_without_attention_cannot_say_which_cells_go_together(recipe: Compose):
    with pytest.raises(ValueError) as error:
        recipe("experiment=visual_parsing/pretrain_224", "visual_parser=resnet50")
    assert str(error.value).startswith("mfr masking=parsed: ConvolutionalParser has no attention map; give ")


@pytest.mark.parametrize(("parser", "weights"), [("resnet50", "timm:resnet50.tv_in1k"), ("patch", NOTHING)])
def test_a_parser_without_attention_is_trained_on_cells_hidden_at_random(parser, weights, recipe: Compose):
    random = "objective.parts.mfr.module.corruption.masking=random"
    found = recipe("experiment=visual_parsing/pretrain_224", f"visual_parser={parser}", random)
    assert set(found.module.weights) == {"mlm", "itm", "mfr", "vla"}
    assert found.config["initial_weights"]["embeddings.parser"] == weights


def test_a_model_without_a_parser_is_refused_by_name(recipe: Compose):
    with pytest.raises(ValueError) as error:
        recipe("experiment=visual_parsing/pretrain", "model=uniter", *NO_CELLS[:1]).module.configure_optimizers()
    assert str(error.value).startswith("learning_rates: no parameter's name begins with embeddings.parser")
