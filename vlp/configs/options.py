"""The options of a config group, as plain dicts, over the whole search path; never through ``hydra.initialize``."""

from __future__ import annotations

import hashlib
import json
import os
import re
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
PLACED = re.compile(r"^/(\w+)@_global_\.\1$")
"""A group whose option a defaults list puts at the top of the tree, under the group's name."""


def user_folder() -> Path:
    """Return the user's configuration folder, which is on the search path where it exists (``paths/local.yaml``)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "vlp"


def option_names(group: str) -> list[str]:
    """Return the options of a config group such as ``model``, sorted, over the whole search path."""
    return sorted({name for folder in _folders(group) for name in _options_in(folder)})


def read_option(group: str, name: str, **chosen: str) -> dict[str, Any]:
    """Return one option as a plain dict, interpolations left as they are.

    Options of the same group that its defaults list names (``defaults: [uniter, _self_]``) are merged in their order.
    One of another group that the list puts at the top of the tree (``/visual_parser@_global_.visual_parser: swin``)
    stands where it is referred to (``${visual_parser}``); other groups are not read.

    Args:
        group: such as ``model``.
        name: of the option.
        chosen: by group, the option that is to stand there instead of the list's.

    Raises:
        ValueError: if the group has no such option, naming the nearest ones, or nothing of a group can be chosen.
    """
    own = _read(group, name)
    entries = own.pop("defaults", [])
    placed = {match[1]: option for entry in entries for key, option in _items(entry) if (match := PLACED.match(key))}
    if unknown := [other for other in chosen if other not in placed]:
        raise ValueError(f"{group}={name} has no {unknown[0]} to choose")
    defaults = [entry for entry in entries if isinstance(entry, str)]
    if SELF not in defaults:
        defaults.append(SELF)
    trees = [own if entry == SELF else read_option(group, entry.removeprefix(f"/{group}/")) for entry in defaults]
    merged = OmegaConf.to_container(OmegaConf.merge(*trees), resolve=False)
    assert isinstance(merged, dict)
    found = {other: read_option(other, chosen.get(other, str(option))) for other, option in placed.items()}
    return {str(key): _filled(value, found) for key, value in merged.items()}


def _items(entry: Any) -> list[tuple[str, Any]]:
    """Return group and option of an entry of a defaults list; nothing for one that names no group."""
    return [(str(key), option) for key, option in entry.items()] if isinstance(entry, dict) else []


def _filled(tree: Any, options: Mapping[str, dict[str, Any]]) -> Any:
    """Return ``tree`` with options in the place of what refers to the whole of them."""
    if isinstance(tree, dict):
        return {key: _filled(value, options) for key, value in tree.items()}
    for group, option in options.items():
        if tree == f"${{{group}}}":
            return option
    return tree


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
