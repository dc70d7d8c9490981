"""Building what a config describes: our one use of ``hydra.utils.instantiate``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hydra.utils import instantiate as hydra_instantiate

from vlp.configs.showing import shown
from vlp.configs.spelling import did_you_mean
from vlp.configs.targets import check_objects, check_targets
from vlp.configs.trees import check_tree


def instantiate(config: Mapping[str, Any], /, *args: Any, _key_: str = "", **kwargs: Any) -> Any:
    """Build what ``config`` describes; ``args`` and ``kwargs`` are handed to its target and win over its keys.

    Nested ``_target_`` nodes are built first; dicts and lists stay plain. With ``_partial_: true`` the result is a
    `functools.partial`. ``_key_`` says where the config stands in the whole tree, for errors.

    The config is resolved already; a ``${...}`` in it is refused, since it may come from a checkpoint and would be
    filled in from this process's environment.

    Raises:
        ValueError: if a target is not allowed, does not exist, or does not take these arguments, or something is left
            to be filled in, naming the key.
    """
    tree = {name: value for name, value in config.items() if name not in kwargs}
    check_tree(tree, _key_ or "the config")
    _check_resolved(tree, _key_)
    if "_target_" not in tree:
        raise ValueError(f"{_key_ or 'the config'} has no _target_; found {', '.join(tree) or 'nothing'}")
    check_targets(tree, _key_)
    check_objects(tree, _key_)
    is_partial = bool(tree.pop("_partial_", False))
    deferred = _build_children(tree, _key_)
    built = functools.partial(deferred.func, *(args or deferred.args), **{**deferred.keywords, **kwargs})
    _check_arguments(built, is_partial, _key_ or "the config")
    return built if is_partial else built()


def _check_resolved(tree: Any, key: str) -> None:
    if isinstance(tree, str) and "${" in tree:
        raise ValueError(f"{key or 'the config'}: found {shown(tree)}, expected what has nothing left to be filled in")
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            _check_resolved(value, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            _check_resolved(value, f"{key}[{index}]")


def _build_children(tree: dict[str, Any], key: str) -> functools.partial[Any]:
    """Let Hydra build the nested nodes; what their constructors raise comes out as it went in, the key before it."""
    try:
        deferred: functools.partial[Any] = hydra_instantiate({**tree, "_partial_": True, "_convert_": "all"})
    except Exception as error:
        if error.__cause__ is None:
            raise ValueError(f"{key or tree['_target_']}: {error}") from error
        _, found, where = str(error).rpartition("full_key: ")
        place = ".".join(filter(None, (key, where if found else "")))
        raise ValueError(f"{place or tree['_target_']}: {error.__cause__}") from error.__cause__
    return deferred


def _check_arguments(call: functools.partial[Any], is_partial: bool, key: str) -> None:
    """Check that the target takes what it is given, and all that it needs unless more is to come."""
    target: Callable[..., Any] = call.func
    try:
        signature = inspect.signature(target)
    except ValueError:  # some builtins have none
        return
    try:
        (signature.bind_partial if is_partial else signature.bind)(*call.args, **call.keywords)
    except TypeError as error:
        unknown = [word for word in call.keywords if word not in signature.parameters]
        what = f"takes no {unknown[0]}{did_you_mean(unknown[0], signature.parameters)}" if unknown else f"is {error}"
        raise ValueError(f"{key}: {target.__module__}.{target.__qualname__} {what}") from error
