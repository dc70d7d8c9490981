"""Pre-training as a recipe: seed, data, model, objectives, trainer; look at the untrained model, train."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from vlp.checkpointing import CheckpointWriter, MetricsFile, SaveCheckpoints
from vlp.commands.identity import content_hash
from vlp.commands.loggers import tracking
from vlp.commands.ranks import watching
from vlp.commands.reading import require_image
from vlp.commands.resuming import CHECKPOINTS, CONFIG_HASH, METRICS, Start, find_start
from vlp.commands.weights import CHECKPOINT
from vlp.configs import instantiate
from vlp.data.dataset import VLDataset, build_dataset
from vlp.data.loading import PretrainingData
from vlp.data.statistics import NUM_SPREAD, region_statistics, spread
from vlp.data.tokenisation import CaptionTokenizer, open_tokenizer
from vlp.durable import stopping
from vlp.models import VLEncoder, build_from_config
from vlp.models.building import RELEASED_KEY
from vlp.models.checkpoints.initial import load_initial_weights
from vlp.models.checkpoints.loading import follow
from vlp.monitoring import LossCurves
from vlp.optimisation import Milestones
from vlp.pretraining import Bundle, PretrainingModule

Config = Mapping[str, Any]


def train(config: Config, run_dir: Path, start: Start | None = None) -> Path:
    """Pre-train what a resolved ``conf/train.yaml`` describes; return the last checkpoint.

    Writes ``checkpoints/*.ckpt`` and ``metrics.csv`` below ``run_dir``. It begins at ``start``, or without one where
    `find_start` says.

    Raises:
        Stopped: if it was told to stop, once that can be resumed.
        ValueError: if the checkpoint to go on from is damaged or of another configuration.
    """
    start = start or find_start(config, run_dir)
    pl.seed_everything(config["seed"], verbose=False)
    train_set = build_dataset(config["dataset"])
    val_set = build_dataset(config["dataset"], split=config["val_split"])
    tokenizer = open_tokenizer(config["tokenizer"])
    encoder = build_from_config(config["model"], train_set.feature_width, tokenizer.vocab_size)
    if start.released_behaviour is not None:
        follow(encoder, start.released_behaviour, str(start.checkpoint))
    require_image(train_set, encoder)
    if start.checkpoint is None:
        load_initial_weights(encoder, config["initial_weights"])
    module = PretrainingModule(
        encoder,
        Bundle.from_config(config["objective"]),
        train_set.num_classes,
        instantiate(config["optimizer"], _key_="optimizer"),
        warmup=config["warmup"],
        milestones=None if config["milestones"] is None else Milestones(**config["milestones"]),
        learning_rates=config["learning_rates"],
        seed=config["seed"],
        record=record(config, encoder, train_set, tokenizer),
    )
    data = pretraining_data(config, module, train_set, val_set, tokenizer)
    with tracking(config) as trackers, warnings.catch_warnings():
        trainer = build_trainer(config, run_dir, start.rows, trackers)
        # It is: `PretrainingData` goes on where the checkpoint stands.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
        with watching(trainer):
            if start.checkpoint is None:
                trainer.validate(module, data, verbose=False)
            with stopping.deferring():
                trainer.fit(module, data, ckpt_path=start.checkpoint, weights_only=True)
    return run_dir / CHECKPOINT


def pretraining_data(
    config: Config, module: PretrainingModule, train_set: VLDataset, val_set: VLDataset, tokenizer: CaptionTokenizer
) -> PretrainingData:
    """Return the pairs the objectives of ``module`` train on."""
    bundle = Bundle.from_config(config["objective"])
    return PretrainingData(
        train_set,
        val_set,
        tokenizer,
        module.corruptions,
        bundle.task_weights,
        batch_size=config["dataset"]["batch_size"],
        num_workers=config["dataset"]["num_workers"],
        seed=config["seed"],
        max_pieces=module.encoder.max_positions,
        pixel_input=module.encoder.pixel_input,
        texts=bundle.texts,
    )


def build_trainer(config: Config, run_dir: Path, rows: int = 0, trackers: Sequence[Logger] = ()) -> pl.Trainer:
    """Return Lightning's trainer with our checkpoints and the configured callbacks and the ``trackers``.

    ``metrics.csv`` is written in any case; its first ``rows`` lines stay.
    """
    nodes = config.get("callbacks") or {}
    saving = dict(config["checkpoint"])
    writer = CheckpointWriter(saving.pop("on_error"))
    table = MetricsFile(run_dir / METRICS, rows, writer.as_told)
    trainer: pl.Trainer = instantiate(
        config["trainer"],
        _key_="trainer",
        callbacks=[
            LossCurves(),
            *(instantiate(node, _key_=f"callbacks.{name}") for name, node in nodes.items()),
            SaveCheckpoints(run_dir / CHECKPOINTS, writer, table, **saving),
        ],
        logger=[table, *trackers],
        plugins=[writer],
        default_root_dir=str(run_dir),
    )
    return trainer


def record(config: Config, encoder: VLEncoder, dataset: VLDataset, tokenizer: CaptionTokenizer) -> dict[str, Any]:
    """Return, in plain types, what is needed to build the model and its heads again and to feed them."""
    reads_regions = encoder.reads == "regions"
    regions = region_statistics(map(dataset.regions, spread(len(dataset), NUM_SPREAD))) if reads_regions else None
    has_behaviour = encoder.embeddings.released_behaviour is not None
    return {
        "model": dict(config["model"]),
        **({RELEASED_KEY: encoder.released_behaviour} if has_behaviour else {}),
        "size": config["size"]["name"],
        "vocab_size": encoder.vocab_size,
        "feature_width": encoder.feature_width,
        "num_classes": dataset.num_classes,
        "tokenizer": tokenizer.source,
        "features": dict(dataset.fingerprint) if reads_regions else {},
        "region_statistics": regions and regions.record(),
        "objective": dict(config["objective"]),
        "dataset": dataset.name,
        "seed": config["seed"],
        CONFIG_HASH: content_hash(config),
        "run_id": config["run"]["id"],
    }
