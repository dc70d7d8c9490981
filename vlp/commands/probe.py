"""Probing as a recipe: data, weights, model, control, probe; test; rows, figures and the record of the run."""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

from vlp.commands.children import carry_out_in_child
from vlp.commands.identity import dataset_content, path_digest
from vlp.commands.loggers import log_rows, tracking
from vlp.commands.plans import Plan, Weights
from vlp.commands.ranks import joins_another, watching
from vlp.commands.reading import check_model
from vlp.commands.records import RunRecord
from vlp.commands.weights import is_trained
from vlp.configs import instantiate
from vlp.data.dataset import VLDataset, build_dataset, require
from vlp.data.tokenisation import CaptionTokenizer, open_tokenizer
from vlp.durable.files import write_text
from vlp.models import VLEncoder, build_from_config, load_weights, read_record
from vlp.probes.activations import ActivationCache
from vlp.probes.base import Probe
from vlp.probes.trained import TEST, TRAIN, VAL, ProbeData, TrainedProbe
from vlp.report.figures import write_figures
from vlp.results import FIGURES_FOLDER, RESULTS_FILE, Record, Subject, short_name, write_results

log = logging.getLogger(__name__)

Config = Mapping[str, Any]

CONTROL_SEED = 1 << 20
"""Added to the seed for the control, which must not have the weights of a model that is random itself."""


@dataclass(frozen=True)
class Subjects:
    """What a probe is put to: a model, its control, and what cuts captions for both."""

    encoder: VLEncoder
    control: VLEncoder
    tokenizer: CaptionTokenizer


def measure(plan: Plan, folder: Path) -> None:
    """Measure one cell and write ``results.csv``, ``figures``, ``.hydra`` and ``run.json`` into ``folder``.

    A dataset that lacks what the probe needs, options that nothing can be made of, and a model that it cannot be put to
    are refused before weights are trained or a model is built. A cell that fails at any point ends as failed in its
    tracker.
    """
    with tracking(plan.config) as loggers:
        _measure(plan, folder, loggers)


def _measure(plan: Plan, folder: Path, loggers: list[Any]) -> None:
    config = plan.config
    record = RunRecord(plan.command, plan.content, config["seed"])
    pl.seed_everything(config["seed"], verbose=False)
    factory = probe_factory(config)
    kind = kind_of(factory)
    dataset = build_dataset(config["dataset"])
    require(dataset, needs_of(factory), config["run"]["probe"])
    kind.check_options(factory.keywords)
    if issubclass(kind, TrainedProbe):
        check_trained(config, kind, factory.keywords)
        if joins_another():
            return  # one process reads activations and fits probers; more devices are for more cells
    check_model(config["model"], dataset, kind, needs_of(factory), config["run"]["probe"])
    weights = ready_weights(plan.weights)
    subjects = build_subjects(config, weights, dataset)
    asked = {"weights": weights.path} if _takes(factory, "weights") else {}  # whose heads the probe needs too
    probe = factory(encoder=subjects.encoder, control=subjects.control, seed=config["seed"], **asked)
    run_probe(config, probe, dataset, subjects, loggers)
    subject = subject_of(config, weights)
    rows = probe.rows()
    write_results(folder / RESULTS_FILE, subject, rows)
    records = [Record.of(subject, row) for row in rows]
    write_figures(records, folder / FIGURES_FOLDER)
    probe.draw(folder / FIGURES_FOLDER)
    write_config(plan, folder / ".hydra")
    log_rows(loggers, records, sorted((folder / FIGURES_FOLDER).glob("*.png")))
    sha256 = weights.content if weights.path else None
    record.write(folder, finished=True, weights=weights.path, weights_sha256=sha256)


def probe_factory(config: Config) -> partial[Probe]:
    """Return what builds the probe of a config out of a model, its control and a seed."""
    factory: partial[Probe] = instantiate({**_arguments(config["probe"]), "_partial_": True}, _key_="probe")
    return factory


def kind_of(factory: partial[Probe]) -> type[Probe]:
    """Return the class of what a factory builds; `Probe` where it is a function that does not say."""
    kind: Any = factory.func
    return kind if isinstance(kind, type) and issubclass(kind, Probe) else Probe


def needs_of(factory: partial[Probe]) -> frozenset[str]:
    """Return the annotations a probe needs, from its config or else from its constructor's default."""
    if "needs" in factory.keywords:
        return frozenset(factory.keywords["needs"])
    parameter = inspect.signature(factory.func).parameters.get("needs")
    return frozenset() if parameter is None or parameter.default is parameter.empty else frozenset(parameter.default)


def check_trained(config: Config, kind: type[TrainedProbe], options: Mapping[str, Any]) -> None:
    """Refuse a prober that the probe has nothing for, and some splits.

    Those are what the prober is trained on or stopped by, which is not to be reported on.

    Raises:
        ValueError: naming probe and prober, or probe and split and what to give.
    """
    probe, split = config["run"]["probe"], config["dataset"]["split"]
    kind.check_prober(options["prober"], probe)
    why = {
        TRAIN: "trains on split train",
        "all": "trains on split train",
        VAL: "stops its fits where split val is answered best, which makes its accuracy there too high",
    }.get(split)
    if why:
        raise ValueError(
            f"probe {probe} {why}, so it cannot report on dataset.split={split}; give dataset.split=test or another "
            "that is neither"
        )


def _takes(factory: partial[Probe], argument: str) -> bool:
    return argument in inspect.signature(factory.func).parameters


def ready_weights(weights: Weights) -> Weights:
    """Return weights that are there: trained first, in a process of their own, where a recipe has yet to make them."""
    if weights.training is None or weights.path is None:
        return weights
    if not is_trained(weights.training):
        _train(weights)
    sha256 = path_digest(weights.path)
    return replace(weights, name=short_name(weights.name, sha256), content=sha256)


def build_subjects(config: Config, weights: Weights, dataset: VLDataset) -> Subjects:
    """Return the model and its control.

    Raises:
        ValueError: if the weights do not fit the model, or were trained on other features than the dataset has.
    """
    record = (read_record(weights.path) if weights.path else None) or {}
    check_features(record, dataset, weights)
    tokenizer = open_tokenizer(config["tokenizer"] or record.get("tokenizer"), is_asked=bool(config["tokenizer"]))
    encoder = _build(config, dataset, tokenizer, config["seed"])
    if weights.path is not None:
        load_weights(encoder, weights.path)
    control = _build(config, dataset, tokenizer, config["seed"] + CONTROL_SEED)
    control.follow(encoder.released_behaviour)  # only the weights differ
    return Subjects(encoder, control, tokenizer)


def check_features(record: Mapping[str, Any], dataset: VLDataset, weights: Weights) -> None:
    """Refuse a checkpoint of ours on features other than those it was trained on, if it was trained on any.

    A model fed other features fails silently; released weights do not say what they were trained on.
    """
    width = record.get("feature_width")
    if width is not None and dataset.feature_width is not None and width != dataset.feature_width:
        raise ValueError(
            f"weights {weights.name} were trained on features of width {width}, "
            f"dataset {dataset.name} has width {dataset.feature_width}"
        )
    trained, given = record.get("features"), dict(dataset.fingerprint)
    if trained and given and trained != given:
        keys = [key for key in {**trained, **given} if trained.get(key) != given.get(key)]
        differing = ", ".join(f"{key} {trained.get(key)} / {given.get(key)}" for key in keys)
        raise ValueError(f"weights {weights.name} and dataset {dataset.name} have different features: {differing}")


def run_probe(config: Config, probe: Probe, dataset: VLDataset, subjects: Subjects, loggers: list[Any]) -> None:
    """Put the probe to every sample of the dataset; a trained one to those of the training splits as well."""
    loading = config["dataset"]["batch_size"], config["dataset"]["num_workers"]
    if isinstance(probe, TrainedProbe):
        trainer = build_trainer(config, loggers, devices=1, num_nodes=1, strategy="auto")
        splits = {part: build_dataset({**config["dataset"], "split": part}) for part in (TRAIN, VAL)}
        cache = ActivationCache(cache_folder(config), activation_content(config))
        with watching(trainer):
            probe.measure(trainer, ProbeData({**splits, TEST: dataset}, subjects.tokenizer, cache, *loading))
        return
    trainer = build_trainer(config, loggers)
    with watching(trainer):
        trainer.test(probe, probe.loader(dataset, subjects.tokenizer, *loading), verbose=False)


def cache_folder(config: Config) -> Path | None:
    """Return where activations are kept; None for memory only."""
    folder = (config.get("cache") or {}).get("dir")
    return None if folder is None else Path(folder).absolute()


def activation_content(config: Config) -> dict[str, Any]:
    """Return what activations depend on besides weights, split and pairs: model, data and arithmetic."""
    settings, files = dataset_content(config["dataset"])
    own = {key: value for key, value in settings.items() if key not in ("split", "batch_size", "cache")}
    return {"model": config["model"], "dataset": own, "files": files, "precision": config["trainer"].get("precision")}


def build_trainer(config: Config, loggers: list[Any], **options: Any) -> pl.Trainer:
    """Return the trainer that the config describes; ``options`` win over its keys."""
    nodes = config.get("callbacks") or {}
    trainer: pl.Trainer = instantiate(
        config["trainer"],
        _key_="trainer",
        callbacks=[instantiate(node, _key_=f"callbacks.{name}") for name, node in nodes.items()],
        logger=loggers or False,
        enable_checkpointing=False,
        default_root_dir=config["run"]["dir"],
        **options,
    )
    return trainer


def subject_of(config: Config, weights: Weights) -> Subject:
    """Return whose numbers they are."""
    return Subject(
        model=config["model"]["name"],
        size=config["size"]["name"],
        weights=weights.name,
        dataset=config["dataset"]["name"],
        probe=config["run"]["probe"],
        prober=config["run"].get("prober") or "",
        seed=config["seed"],
    )


def write_config(plan: Plan, folder: Path) -> None:
    """Write the composed config and what was set on the command line, under the names that Hydra gives them."""
    folder.mkdir()
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(plan.config)))
    write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(plan.overrides)))


def _build(config: Config, dataset: VLDataset, tokenizer: CaptionTokenizer, seed: int) -> VLEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_from_config(config["model"], dataset.feature_width, tokenizer.vocab_size)


def _arguments(probe: Config) -> dict[str, Any]:
    return {key: value for key, value in probe.items() if key != "name"}


def _train(weights: Weights) -> None:
    assert weights.training is not None
    training = weights.training
    expected = training.config.get("expected_time")
    log.warning(
        "weights=recipe:%s: no checkpoint for model=%s size=%s dataset=%s seed=%s; training it, %s steps%s, into %s",
        weights.name,
        *(training.config[key]["name"] for key in ("model", "size", "dataset")),
        training.config["seed"],
        training.config["trainer"]["max_steps"],
        f" ({expected})" if expected else "",
        training.run_dir,
    )
    started = time.monotonic()
    carry_out_in_child(training, dict(os.environ))
    log.info("trained in %.0f s", time.monotonic() - started)
