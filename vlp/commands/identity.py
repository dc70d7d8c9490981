"""What a run is, as a hash of its content: equal content, one folder; anything else, another.

Where outputs go, how progress is shown and which machine does the work are left out; weights, data and a tokenizer of
one's own enter by their content, not by their path. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlp.configs import digest, dotted
from vlp.durable.digests import file_digest, state_key
from vlp.durable.files import cache_folder, write_text

SHORT = 12
"""Digits of a hash in a folder's name."""

ELSEWHERE = frozenset(
    {"hydra", "logger", "paths", "run", "force", "resume", "ckpt_path", "checkpoint", "weights", "pretrain_seed"}
    | {"expected_time", "local_paths", "cache", "row"}
)
"""Top-level keys that do not change what comes out (a row has its name there), or enter as content (weights)."""

SHOWN_ONLY = frozenset(
    {"accelerator", "default_root_dir", "enable_model_summary", "enable_progress_bar", "log_every_n_steps", "profiler"}
    | {"max_time"}
)
"""Trainer keys that do not change what comes out."""

SPREAD = frozenset({"devices", "num_nodes", "strategy"})
"""Trainer keys that change a training (the batch of a step), and nothing that a probe measures."""


def content_hash(config: Mapping[str, Any], weights: str = "") -> str:
    """Return the sha256, in hexadecimal, of what a resolved config asks for.

    Args:
        config: a resolved ``conf/train.yaml`` or ``conf/probe.yaml``.
        weights: the content of the weights it reads: a recipe's hash or a file's sha256.
    """
    tree = {key: value for key, value in config.items() if key not in ELSEWHERE}
    dropped = SHOWN_ONLY if config.get("entry") == "train" else SHOWN_ONLY | SPREAD
    tree["trainer"] = {key: value for key, value in (config.get("trainer") or {}).items() if key not in dropped}
    tree["callbacks"] = {key: value for key, value in (config.get("callbacks") or {}).items() if key != "progress"}
    tree["names"] = {
        key: (config.get("run") or {}).get(key) for key in ("probe", "prober")
    }  # they stand in the results
    tree["dataset"], data = dataset_content(config.get("dataset") or {})
    if initial := dotted(config.get("initial_weights"), "initial_weights", str):
        tree["initial_weights"] = {part: weights_content(source) for part, source in initial.items() if source}
    if tokenizer := tokenizer_content(config.get("tokenizer")):
        tree["tokenizer"] = tokenizer
    return digest({"config": tree, "weights": weights, "data": data})


def path_digest(path: Path | str) -> str:
    """Return the sha256 of a file, or of a folder's files with their names.

    Raises:
        FileNotFoundError: if there is no such path.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return digest([[file.relative_to(path).as_posix(), path_digest(file)] for file in files])
    return file_digest(path)


def dataset_content(dataset: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the dataset's config without its place, and the digest of its files."""
    data = _data_digest(dataset.get("root"), dataset.get("files") or [])
    elsewhere = {"num_workers", "files", *(["root"] if data else [])}
    return {key: value for key, value in dataset.items() if key not in elsewhere}, data


def tokenizer_content(source: Any) -> str:
    """Return the digest of the tokenizer's file or folder; empty for a hub name, the shipped one, and a map."""
    if not isinstance(source, str) or not Path(source).exists():
        return ""
    return path_digest(source) if Path(source).is_file() else _data_digest(source, ["**/*"])


def weights_content(source: str) -> str:
    """Return the digest of a file or folder of weights; a name on a hub stands for itself."""
    path = Path(source).expanduser()
    return path_digest(path) if path.exists() else source


def _data_digest(root: str | None, patterns: list[str]) -> str:
    """Return the digest of the official files below ``root``; empty where there are none."""
    if root is None or not Path(root).is_dir():
        return ""
    files = sorted({file for pattern in patterns for file in Path(root).glob(pattern) if file.is_file()})
    return digest([[file.relative_to(root).as_posix(), remembered_digest(file)] for file in files]) if files else ""


def remembered_digest(file: Path) -> str:
    """Return the sha256 of a large file that seldom changes, remembered by its path, size and time of change."""
    key = state_key(files=[file])
    memory = cache_folder("digests") / key[:2] / key
    try:
        return str(json.loads(memory.read_text("utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        found = path_digest(file)
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_text(memory, json.dumps({"file": str(file), "sha256": found}))
    except OSError:  # a home that cannot be written costs time, not results
        return found
    return found
