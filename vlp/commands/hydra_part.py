"""What Hydra itself may instantiate: its part of a config is checked before it does (launcher, callbacks, logging)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra._internal.hydra import Hydra
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vlp.configs import check_interpolations
from vlp.configs.showing import spelt
from vlp.configs.targets import check_class, check_objects, check_targets

HYDRA_OWN = ("hydra._internal.core_plugins", "hydra.experimental.callbacks", "hydra_plugins")
"""Where the classes are that Hydra's own configs name; its other modules import much that a config may not call."""

CALLED = ("_target_", "()", "class")
"""Keys whose value Hydra, or the standard library's logging, calls."""

LOGGING = ("hydra.job_logging", "hydra.hydra_logging")


@contextmanager
def checking_hydra() -> Iterator[None]:
    """Check what Hydra's own part of a config would call, before Hydra calls it."""
    compose = Hydra.compose_config

    def checked(self: Hydra, *args: Any, **kwargs: Any) -> DictConfig:
        config = compose(self, *args, **kwargs)
        check_interpolations(config)
        check_hydra(config.hydra)
        return config

    Hydra.compose_config = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.compose_config = compose  # type: ignore[method-assign]


def check_hydra(node: DictConfig, key: str = "hydra") -> None:
    """Check the ``hydra`` part of a config, and every node that it refers to.

    Raises:
        ValueError: ``TARGET is not allowed at KEY``.
    """
    _check(node, key, set())


def _check(node: DictConfig | ListConfig, key: str, seen: set[int]) -> None:
    if id(node) in seen or node._is_none() or node._is_missing():
        return
    seen.add(id(node))
    is_list = isinstance(node, ListConfig)
    for name in range(len(node)) if is_list else list(node):
        if name in CALLED:
            _check_name(str(name), str(node._get_node(name)), key)
        try:
            value = node[name] if OmegaConf.is_interpolation(node, name) else node._get_node(name)
        except OmegaConfBaseException:  # a text that only a job has, such as its number
            continue
        if isinstance(value, DictConfig | ListConfig):
            _check(value, f"{key}[{name}]" if is_list else f"{key}.{name}", seen)


def _check_name(kind: str, target: str, key: str) -> None:
    if kind == "_target_" and target.startswith(tuple(f"{home}." for home in HYDRA_OWN)):
        check_class(target, HYDRA_OWN, key)
    elif kind == "_target_":
        check_targets({"_target_": target}, key)
        check_objects({"_target_": target}, key)
    elif kind == "class" and target.startswith("logging."):
        check_class(target, ("logging",), key)
    elif kind == "()" or key.startswith(LOGGING):
        raise ValueError(f"{spelt(target)} is not allowed at {spelt(key)}")
