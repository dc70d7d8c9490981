"""A plan: everything a run needs, as plain data, so that any process can carry it out without composing a config."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from vlp.commands.identity import SHORT, content_hash
from vlp.configs import check_interpolations, check_targets, did_you_mean, option_names, trusted_folders
from vlp.results import name_with_row

ENTRIES = ("train", "probe")
SEEDS = ("seed", "pretrain_seed")
RESUME = ("auto", "never")
LOADING = {"batch_size": 1, "num_workers": 0}
"""Whole numbers of a dataset's config, and the least that each may be."""
MAX_SEED = 1 << 32
"""What every library's generator takes."""


@dataclass(frozen=True)
class Weights:
    """Where a cell's weights come from.

    Args:
        name: the short name in results, ``random`` where there are none.
        content: what they are: a file's sha256, or the content hash of the recipe that makes them.
        path: the file or folder, None for random weights.
        training: how to make them where ``path`` is not there yet.
    """

    name: str = "random"
    content: str = "random"
    path: str | None = None
    training: Plan | None = None


@dataclass(frozen=True)
class Plan:
    """What one run does.

    Args:
        entry: train or probe.
        config: the resolved config, plain.
        content: its content hash.
        run_dir: a training's folder; for a probe the run's or sweep's own directory, which links to its cells.
        outputs: the folder of everything kept, ``outputs/cells`` and ``outputs/train``.
        command: the command line that asked for it.
        overrides: what was set on it.
        force: do it again although its results exist.
        weights: of a probe.
        folders: ``--config-dir`` folders whose modules may be named.
    """

    entry: str
    config: dict[str, Any]
    content: str
    run_dir: str
    outputs: str
    command: str
    overrides: list[str] = field(default_factory=list)
    force: bool = False
    weights: Weights = field(default_factory=Weights)
    folders: list[str] = field(default_factory=list)

    @property
    def cell(self) -> str:
        """The name of the folder that the content hash gives."""
        return self.content[:SHORT]

    def save(self, path: Path) -> None:
        """Write the plan as JSON."""
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Return the plan that `save` wrote."""
        return cls.of(json.loads(path.read_text("utf-8")))

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Plan:
        """Return the plan that a plain tree describes."""
        weights = dict(tree["weights"])
        training = weights.pop("training")
        return cls(**{**tree, "weights": Weights(**weights, training=Plan.of(training) if training else None)})


def plain(config: DictConfig, run: Mapping[str, Any] | None = None, objective: str | None = None) -> dict[str, Any]:
    """Return a composed config resolved, as plain data, its targets checked; ``run`` fills in keys of ``run``.

    ``objective`` is the option that was chosen, for what is said where there is none of that name.

    Raises:
        ValueError: if a target is not allowed, what it refers to makes it too large, or a number or word that every
            command reads is none.
    """
    if run is not None:
        with open_dict(config):
            for name, value in run.items():
                OmegaConf.update(config, f"run.{name}", value)
    check_interpolations(config)
    tree = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(tree, dict)
    check_targets(tree)
    _check_seeds(tree)
    _check_loading(tree.get("dataset") or {})
    if not isinstance(tree.get("force", False), bool):
        raise ValueError(f"force={tree['force']}: expected true or false")
    if tree.get("entry") == "train" and "objective" not in tree:
        raise ValueError(_no_objective(str(tree["model"]["name"]), objective))
    if tree.get("resume", "auto") not in RESUME:
        raise ValueError(f"resume={tree['resume']} is not an option{did_you_mean(str(tree['resume']), RESUME)}")
    return {str(key): value for key, value in tree.items()}


def plan_training(config: dict[str, Any], run_dir: Path | str, command: str, overrides: list[str]) -> Plan:
    """Return the plan of a training in ``run_dir``."""
    return Plan(
        entry="train",
        config=config,
        content=content_hash(config),
        run_dir=os.path.abspath(run_dir),
        outputs=outputs_folder(config),
        command=command,
        overrides=overrides,
        folders=[str(folder) for folder in trusted_folders()],
    )


def plan_probe(
    config: dict[str, Any], weights: Weights, run_dir: Path | str, command: str, overrides: list[str]
) -> Plan:
    """Return the plan of one cell, whose link will stand in ``run_dir``.

    A file's weights are those of the row that the cell is of; a recipe's say for themselves whose they are.
    """
    if weights.path and weights.training is None:
        row = config.get("row") or {}
        weights = replace(weights, name=name_with_row(weights.name, row.get("name", "")))
    return Plan(
        entry="probe",
        config=config,
        content=content_hash(config, weights.content),
        run_dir=os.path.abspath(run_dir),
        outputs=outputs_folder(config),
        command=command,
        overrides=overrides,
        force=config.get("force", False),
        weights=weights,
        folders=[str(folder) for folder in trusted_folders()],
    )


def outputs_folder(config: Mapping[str, Any]) -> str:
    """Return the folder of everything kept, absolute."""
    return os.path.abspath((config.get("paths") or {}).get("outputs") or "outputs")


def check_prober(config: DictConfig, probe: str | None, prober: str | None) -> None:
    """Refuse a prober that nothing would train, and a probe that would train none.

    Args:
        config: unresolved, since what a probe refers to may be the prober that is missing.
        probe: the option that was chosen.
        prober: the option that was chosen.

    Raises:
        ValueError: naming both.
    """
    has_prober = config.get("prober") is not None
    trained = OmegaConf.to_container(config.probe)
    assert isinstance(trained, dict)
    if has_prober and "prober" not in trained:
        raise ValueError(f"probe {probe} trains no prober, but prober={prober or config.prober} was chosen")
    if "prober" in trained and (trained["prober"] is None or not has_prober):
        raise ValueError(
            f"probe {probe} trains a prober and has none; give prober={' or '.join(option_names('prober'))}"
        )


def check_entry(config: Mapping[str, Any], entry: str) -> None:
    """Refuse a config that is for the other command."""
    other = config.get("entry", entry)
    if other not in ENTRIES:
        raise ValueError(f"entry={other!r} is no command{did_you_mean(str(other), ENTRIES)}")
    if other != entry:
        raise ValueError(f"this configuration is for {other}.py; it was given to {entry}.py")


def for_model(value: Any, model: str, key: str) -> Any:
    """Return this model's value of a key that takes one value or a map from model to value (``weights``).

    Raises:
        ValueError: if the map does not name the model.
    """
    if not isinstance(value, Mapping):
        return value
    if model not in value:
        raise ValueError(f"{key}= maps {', '.join(map(str, value)) or 'nothing'}, not model {model}")
    return value[model]


def _no_objective(model: str, chosen: str | None) -> str:
    there = option_names("objective")
    if chosen in (None, model):
        return f"model {model} has no objective of its own; give objective={' or '.join(there)}"
    return f"objective={chosen} is not an option{did_you_mean(str(chosen), there)}"


def _check_seeds(tree: Mapping[Any, Any]) -> None:
    for key in SEEDS:
        value = tree.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_SEED:
            raise ValueError(f"{key}={value}: expected a whole number from 0 to {MAX_SEED - 1}")


def _check_loading(dataset: Mapping[Any, Any]) -> None:
    for key, least in LOADING.items():
        value = dataset.get(key, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"dataset.{key}={value}: expected a whole number from {least}")
