"""Pre-training as a recipe: seed, data, model, objectives, trainer; look at the untrained model, train."""

from __future__ import annotations

import csv
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger

from vlp.commands.identity import content_hash
from vlp.configs import instantiate
from vlp.data.dataset import VLDataset, build_dataset
from vlp.data.loading import PretrainingData
from vlp.data.tokenisation import CaptionTokenizer, open_tokenizer
from vlp.models import VLEncoder, build_from_config
from vlp.monitoring import LossCurves
from vlp.pretraining import Bundle, PretrainingModule

log = logging.getLogger(__name__)

Config = Mapping[str, Any]


def train(config: Config, run_dir: Path) -> Path:
    """Pre-train what a resolved ``conf/train.yaml`` describes; return the last checkpoint.

    Writes ``checkpoints/*.ckpt`` and ``metrics.csv`` below ``run_dir``.
    """
    pl.seed_everything(config["seed"], verbose=False)
    train_set = build_dataset(config["dataset"])
    val_set = build_dataset(config["dataset"], split=config["val_split"])
    tokenizer = open_tokenizer(config["tokenizer"])
    encoder = build_from_config(config["model"], train_set.feature_width, tokenizer.vocab_size)
    module = PretrainingModule(
        encoder,
        Bundle.from_config(config["objective"]),
        train_set.num_classes,
        instantiate(config["optimizer"], _key_="optimizer"),
        warmup=config["warmup"],
        seed=config["seed"],
        record=record(config, encoder, train_set, tokenizer),
    )
    data = pretraining_data(config, module, train_set, val_set, tokenizer)
    ckpt_path = checkpoint_to_resume(config, run_dir)
    trainer = build_trainer(config, run_dir, kept_metrics(run_dir, ckpt_path))
    if ckpt_path is None:
        trainer.validate(module, data, verbose=False)
    with warnings.catch_warnings():  # it is: `PretrainingData` goes on where the checkpoint stands
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
        trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return run_dir / "checkpoints" / "last.ckpt"


def pretraining_data(
    config: Config, module: PretrainingModule, train_set: VLDataset, val_set: VLDataset, tokenizer: CaptionTokenizer
) -> PretrainingData:
    """Return the pairs the objectives of ``module`` train on."""
    return PretrainingData(
        train_set,
        val_set,
        tokenizer,
        module.corruptions,
        Bundle.from_config(config["objective"]).task_weights,
        batch_size=config["dataset"]["batch_size"],
        num_workers=config["dataset"]["num_workers"],
        seed=config["seed"],
        max_pieces=module.encoder.max_positions,
    )


def build_trainer(config: Config, run_dir: Path, metrics: Sequence[Mapping[str, Any]] = ()) -> pl.Trainer:
    """Return Lightning's trainer with the configured callbacks and loggers.

    ``metrics.csv`` is written in any case; ``metrics`` are the rows it starts with.
    """
    nodes = config.get("callbacks") or {}
    callbacks = [instantiate(node, _key_=f"callbacks.{name}") for name, node in nodes.items()]
    checkpoints = ModelCheckpoint(
        dirpath=run_dir / "checkpoints",
        filename="step-{step:07d}",
        auto_insert_metric_name=False,
        every_n_train_steps=config["checkpoint"]["every_n_steps"],
        save_top_k=config["checkpoint"]["keep"],
        monitor="step",
        mode="max",
        save_last=True,
    )
    table = CSVLogger(run_dir, name="", version="")
    table.experiment.metrics.extend(metrics)
    table.save()
    loggers: list[Logger] = [table]
    if (config.get("logger") or {}).get("_target_", "").rpartition(".")[2] not in ("", "CSVLogger"):
        loggers.append(instantiate(config["logger"], _key_="logger"))
    trainer: pl.Trainer = instantiate(
        config["trainer"],
        _key_="trainer",
        callbacks=[LossCurves(), *callbacks, checkpoints],
        logger=loggers,
        default_root_dir=str(run_dir),
    )
    return trainer


def checkpoint_to_resume(config: Config, run_dir: Path) -> str | None:
    """Return the checkpoint to go on from: the one named, or with ``resume=auto`` this directory's last one, if any."""
    last = run_dir / "checkpoints" / "last.ckpt"
    if config["ckpt_path"]:
        return str(config["ckpt_path"])
    if config["resume"] == "auto" and last.is_file():
        log.info("going on from %s", last)
        return str(last)
    return None


def kept_metrics(run_dir: Path, ckpt_path: str | None) -> list[dict[str, Any]]:
    """Return the rows of ``metrics.csv`` up to the checkpoint; the logger deletes the file it finds."""
    file = run_dir / "metrics.csv"
    if ckpt_path is None or not file.is_file():
        return []
    reached = torch.load(ckpt_path, map_location="cpu", weights_only=True)["global_step"]
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [{name: value for name, value in row.items() if value} for row in rows if int(row["step"]) <= reached]


def record(config: Config, encoder: VLEncoder, dataset: VLDataset, tokenizer: CaptionTokenizer) -> dict[str, Any]:
    """Return, in plain types, what is needed to build the model and its heads again and to feed them."""
    return {
        "model": dict(config["model"]),
        "size": config["size"]["name"],
        "vocab_size": encoder.vocab_size,
        "feature_width": encoder.feature_width,
        "num_classes": dataset.num_classes,
        "tokenizer": tokenizer.source,
        "features": dict(dataset.fingerprint),
        "objective": dict(config["objective"]),
        "dataset": dataset.name,
        "seed": config["seed"],
        "config_hash": content_hash(config),
    }
