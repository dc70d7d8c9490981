"""Errors as a user reads them: one line that names the thing, the traceback only on request."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import hydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from vlp.commands.ranks import is_led, leave_words
from vlp.configs import did_you_mean, option_names
from vlp.configs.showing import printable

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Environment variable that asks for tracebacks, as everywhere in Hydra."""

_EXPLAINED = (ValueError, OSError, HydraException, OmegaConfBaseException, RuntimeError, ImportError)
"""Errors whose message stands by itself; others are shown with their type."""

_RESOLVING = "ValueError raised while resolving interpolation: "
_NO_GROUP = "Config group override must be a string or a list"
"""How OmegaConf and Hydra begin what they say of a resolver's error, and of an option that is null."""


def report(error: BaseException, overrides: Sequence[str] = (), entry: str = "") -> str:
    """Print ``error: ...`` to stderr, after the traceback where that was asked for; return the message.

    In a process that another one has started to share its work, the message is left to that one.
    """
    message = "\n".join(map(printable, friendly(error, overrides, entry).split("\n")))  # it may repeat a file's words
    if os.environ.get(FULL_ERROR) == "1":
        traceback.print_exception(error)
    if is_led():
        leave_words(message)
    else:
        sys.stderr.write(f"error: {message}\n")
    return message


def friendly(error: BaseException, overrides: Sequence[str] = (), entry: str = "") -> str:
    """Return what went wrong in words.

    Args:
        error: what was raised.
        overrides: the command line's, which tell what a misspelt key was near to.
        entry: the command, train or probe.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _unknown_option(error)
    if isinstance(error, OverrideParseException):
        return f"cannot read the override {error.override!r}: {_one_line(error)}"
    if isinstance(error, ConfigCompositionException):
        return _composition(error, overrides, entry)
    if isinstance(error, InterpolationResolutionError) and str(error).startswith(_RESOLVING):
        return _first_line(error).removeprefix(_RESOLVING)  # ours, on what a folder's name is made of
    if isinstance(error, OmegaConfBaseException):
        key = getattr(error, "full_key", None)
        return f"{_first_line(error)}{f' (at {key})' if key else ''}"
    told = str(error).strip() or type(error).__name__
    emptied = [override.removesuffix("=null") for override in overrides if override.endswith("=null")]
    if emptied and told.startswith(_NO_GROUP):
        group, there = emptied[0], ", ".join(option_names(emptied[0]))
        return f"{group}=null: a group has no option null; there is {there}; ~{group} on the command line leaves it out"
    if told.startswith(_NO_GROUP):
        chosen = (override.lstrip("+").partition("=") for override in overrides)
        choices = [(group, name, option_names(group)) for group, _, name in chosen]
        wrong = [(group, name, there) for group, name, there in choices if there and name not in there]
        return "; ".join(f"{g}={name} is not an option{did_you_mean(name, there)}" for g, name, there in wrong) or told
    told = told if isinstance(error, _EXPLAINED) else f"{type(error).__name__}: {told}; {FULL_ERROR}=1 shows where"
    return " ".join([told, *getattr(error, "__notes__", [])])


def _unknown_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    if not group:
        return f"there is no config {option}"
    return f"{group}={option} is not an option{did_you_mean(option, error.options or [])}"


def _composition(error: ConfigCompositionException, overrides: Sequence[str], entry: str) -> str:
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if not unknown:
        cause = error.__cause__
        return "; ".join([_one_line(error), *([_one_line(cause)] if cause else [])])
    key = unknown.group(1)
    cause = error.__cause__
    if cause is not None and "is not in struct" not in str(cause):
        return f"{key}: {_first_line(cause)}"
    known = known_keys(entry, overrides, key)
    holder = next(name for name in _parents(key) if name in (*known, ""))
    if key in known and holder != key.rpartition(".")[0]:
        inner = key.removeprefix(f"{holder}.")
        return f"{inner} is one name, which --cfg shows in {holder}: write '{holder}={{{inner}:VALUE}}'"
    if key in known:  # with the first choice of each list, but not with the default that Hydra checks a sweep against
        return f"in a sweep over {key.partition('.')[0]}= keys of its options take ++: write ++{key}=VALUE"
    return f"there is no key {key}{did_you_mean(key, _near(key, known))}"


def _parents(key: str) -> Iterator[str]:
    """Yield what a key may stand in, the nearest first: ``a.b`` and ``a`` for ``a.b.c``, last the top, empty."""
    while key:
        key = key.rpartition(".")[0]
        yield key


def _near(key: str, known: Iterable[str]) -> list[str]:
    """Return the names to search: all of them, but where none is near only the key's neighbours are worth listing."""
    known = list(known)
    if "?" in did_you_mean(key, known):
        return known
    parent = key.rpartition(".")[0]
    siblings = [name for name in known if name.rpartition(".")[0] == parent]
    return siblings or sorted({name.split(".")[0] for name in known})


def known_keys(entry: str, overrides: Sequence[str], wrong: str) -> list[str]:
    """Return every key and group that the command's config has, the misspelt override left out."""
    if not entry:
        return []
    right = [override for override in overrides if override.lstrip("+~").split("=")[0] != wrong]
    plain = [override for override in right if "," not in override]
    firsts = [override.partition(",")[0] for override in right if not set("[]{}()'\"") & set(override)]
    with hydra.initialize_config_module("vlp.conf", version_base="1.3"):
        for attempt in (firsts, plain, []):
            try:
                return list(dict.fromkeys(_keys(OmegaConf.to_container(hydra.compose(entry, attempt)))))
            except Exception:  # noqa: BLE001 - a second mistake: suggest from the defaults
                continue
    return []


def _keys(tree: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield f"{prefix}{name}"
            yield from _keys(value, f"{prefix}{name}.")


def _one_line(error: BaseException) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
