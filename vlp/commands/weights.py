"""``weights=``: random, a checkpoint, or the checkpoint that a recipe gives, trained on first use."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra

from vlp.commands.identity import SHORT, content_hash, path_digest
from vlp.commands.plans import Plan, Weights, for_model, outputs_folder, plain, plan_training
from vlp.commands.records import read_record
from vlp.configs import did_you_mean, read_option
from vlp.durable.digests import DamagedError, check_digest
from vlp.results import short_name

log = logging.getLogger(__name__)

AUTO_SIZE, AUTO_DATASET, AUTO_RECIPE = "tiny", "scenes", "recipe:scenes"
RECIPE = "recipe:"
CHECKPOINT = Path("checkpoints") / "last.ckpt"

RATES = frozenset({"dropout", "attention_dropout", "drop_path", "initializer_range"})
"""Settings of a model in which a recipe may differ: what is dropped, and how weights begin."""


def find_weights(config: Mapping[str, Any], command: str) -> Weights:
    """Return where a cell's weights come from, composing the recipe where one makes them.

    Args:
        config: a resolved ``conf/probe.yaml``; ``weights`` may map a model's name to what it says of it.
        command: the command line, for the record of a training.

    Raises:
        ValueError: if there is no such recipe or file, or ``auto`` has none to offer.
    """
    source = str(for_model(config["weights"], config["model"]["name"], "weights"))
    if source == "auto":
        source = _automatic(config)
    if source == "random":
        return Weights()
    if source.startswith(RECIPE):
        return _recipe_weights(source.removeprefix(RECIPE), config, command)
    if not source:
        raise ValueError("weights= is empty; give auto, random, a path or recipe:NAME")
    return _file_weights(source)


def _automatic(config: Mapping[str, Any]) -> str:
    size, dataset = config["size"]["name"], config["dataset"]["name"]
    if (size, dataset) == (AUTO_SIZE, AUTO_DATASET):
        return AUTO_RECIPE
    raise ValueError(
        f"weights=auto has nothing for size={size} dataset={dataset} (it is {AUTO_RECIPE} at size={AUTO_SIZE} "
        f"dataset={AUTO_DATASET}): give weights=PATH, weights=recipe:NAME or weights=random"
    )


def _file_weights(source: str) -> Weights:
    path = Path(source).expanduser()
    if not path.exists():
        hint = "" if "/" in source or "." in source else did_you_mean(source, ["auto", "random", "recipe:scenes"])
        raise ValueError(f"weights={source}: no such file or folder{hint}")
    sha256 = path_digest(path)
    return Weights(short_name(path.stem, sha256), sha256, str(path.resolve()))


def _recipe_weights(recipe: str, config: Mapping[str, Any], command: str) -> Weights:
    """Return the checkpoint that ``train.py experiment=NAME`` gives for this cell's model, size, dataset and seed."""
    name, _, row = recipe.partition("@")
    entry = read_option("experiment", name).get("entry", "train")
    if entry != "train":
        raise ValueError(f"weights=recipe:{name}: experiment {name} is for {entry}.py, a recipe is for train.py")
    overrides = recipe_overrides(name, row, config)
    training = plain(hydra.compose("train", overrides))
    _check_same_model(recipe, training["model"], config["model"])
    folder = Path(outputs_folder(config)) / "train" / content_hash(training)[:SHORT]
    plan = plan_training({**training, "resume": "auto"}, folder, command, overrides)
    word = "@".join(filter(None, [name.replace("/", "_"), row]))
    return Weights(word, plan.content, str(folder / CHECKPOINT), plan)


def _check_same_model(recipe: str, trained: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse a recipe that trains another network than the one that is asked for, before it has trained it."""
    have, want = _shape(trained), _shape(asked)
    key = next((key for key in {**want, **have} if have.get(key) != want.get(key)), None)
    if key is not None:
        raise ValueError(
            f"weights=recipe:{recipe} trains a model={asked['name']} whose {key} is {have.get(key)}, here it is "
            f"{want.get(key)}: leave that as the recipe has it, or train one (train.py) and give weights=PATH"
        )


def _shape(node: Any, name: str = "model") -> dict[str, Any]:
    """Return a model's settings by their dotted names, without those that change no weight's shape."""
    if not isinstance(node, Mapping):
        return {name: node}
    inner = [_shape(value, f"{name}.{key}") for key, value in node.items() if key not in RATES]
    return {key: value for part in inner for key, value in part.items()}


def recipe_overrides(name: str, row: str, config: Mapping[str, Any]) -> list[str]:
    """Return the command-line overrides that make ``train.py`` train what a cell asks for."""
    chosen: dict[str, Any] = {
        "experiment": name,
        "model": config["model"]["name"],
        "size": config["size"]["name"],
        "dataset": config["dataset"]["name"],
        "seed": config["pretrain_seed"],
        "dataset.num_workers": config["dataset"].get("num_workers"),
        "dataset.root": config["dataset"].get("root"),
        "tokenizer": for_model(config.get("tokenizer"), config["model"]["name"], "tokenizer"),
        "row": row or None,
    }
    return [f"{key}={_quoted(value)}" for key, value in chosen.items() if value is not None]


def is_trained(plan: Plan) -> bool:
    """Whether the training that ``plan`` describes has run to its end, and its last checkpoint is whole."""
    record = read_record(Path(plan.run_dir))
    is_same = record.get("content_hash") == plan.content
    return is_same and bool(record.get("finished")) and _is_whole(Path(plan.run_dir) / CHECKPOINT)


def _is_whole(checkpoint: Path) -> bool:
    """Whether the checkpoint is there and undamaged; a damaged one is made again from the one before it."""
    if not checkpoint.is_file():
        return False
    try:
        check_digest(checkpoint)
        return True
    except DamagedError as error:
        log.warning("%s; its last steps are trained again", error)
        return False


def _quoted(value: Any) -> str:
    """Return a value as Hydra's command line reads it."""
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'" if not escaped.replace("/", "").replace("_", "").replace("-", "").isalnum() else escaped
