"""The options of a config group, as plain dicts, over the whole search path; never through ``hydra.initialize``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from vlp.configs.interpolation import check_interpolations
from vlp.configs.showing import printable
from vlp.configs.spelling import did_you_mean
from vlp.configs.targets import plugin_packages, trusted_folders
from vlp.configs.trees import check_tree

SELF = "_self_"
"""Where an option's own keys stand among those of its defaults list."""


def user_folder() -> Path:
    """Return the user's configuration folder, which is on the search path where it exists (``paths/local.yaml``)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "vlp"


def option_names(group: str) -> list[str]:
    """Return the options of a config group such as ``model``, sorted, over the whole search path."""
    return sorted({name for folder in _folders(group) for name in _options_in(folder)})


def read_option(group: str, name: str) -> dict[str, Any]:
    """Return one option as a plain dict, interpolations left as they are.

    Options of the same group that its defaults list names (``defaults: [uniter, _self_]``) are merged in their order;
    other groups are not read.

    Raises:
        ValueError: if the group has no such option, naming the nearest ones.
    """
    own = _read(group, name)
    defaults = [entry for entry in own.pop("defaults", []) if isinstance(entry, str)]
    if SELF not in defaults:
        defaults.append(SELF)
    trees = [own if entry == SELF else read_option(group, entry) for entry in defaults]
    merged = OmegaConf.to_container(OmegaConf.merge(*trees), resolve=False)
    assert isinstance(merged, dict)
    return {str(key): value for key, value in merged.items()}


def _read(group: str, name: str) -> dict[Any, Any]:
    for folder in _folders(group):
        file = folder.joinpath(*f"{name}.yaml".split("/"))
        if file.is_file():
            return read_yaml(file.read_text("utf-8"), str(file))
    raise ValueError(f"{group}={name} is not an option{did_you_mean(name, option_names(group))}")


def read_yaml(text: str, where: str) -> dict[Any, Any]:
    """Return a YAML document as a plain mapping, interpolations left as they are; anything else is an empty one.

    Raises:
        ValueError: if it is no YAML, nested too deeply, or too large once its aliases are copied; names ``where``.
    """
    try:
        tree = yaml.load(text, Loader=get_yaml_loader())  # OmegaConf's: safe, and its notion of numbers
    except RecursionError as error:
        raise ValueError(f"{where}: nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = printable(" ".join(str(error).split()))
        raise ValueError(f"{where}: {reason}") from error
    if not isinstance(tree, dict):
        return {}
    check_tree(tree, where)
    return tree


def resolve(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plain tree with its ``${...}`` interpolations filled in from the tree itself.

    Raises:
        ValueError: if one leads nowhere, or the tree would become too large or goes too deep; names the key.
    """
    try:
        check_interpolations(tree)
        resolved = OmegaConf.to_container(OmegaConf.create(dict(tree)), resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key or 'config'}: {str(error).partition(chr(10))[0]}") from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def digest(tree: Any) -> str:
    """Return the sha256, in hexadecimal, of a plain tree as canonical JSON (keys sorted)."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _folders(group: str) -> Iterator[Traversable]:
    """Yield the group's folders, first match first."""
    for root in _roots():
        folder = root.joinpath(*group.split("/"))
        if folder.is_dir():
            yield folder


def _roots() -> Iterator[Traversable]:
    """Yield the search path in the order that Hydra has it in: ours first, so that others add and replace none."""
    yield resources.files("vlp.conf")
    yield from (folder for folder in [user_folder()] if folder.is_dir())
    yield from (resources.files(package) for package in plugin_packages())
    yield from trusted_folders()


def _options_in(folder: Traversable) -> Iterator[str]:
    return (file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
