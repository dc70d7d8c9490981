"""What a config's ``_target_`` may name.

Configs are data that anybody may have written. They may name: our own classes; anything in the packages of registered
plug-ins (entry-point group ``vlp.plugins``) and in the Python modules of a folder that the user named with
``--config-dir``, who thereby trusts its code as well as its YAML (`trust_folder`); and classes of the externals in
`ALLOWED`. What a name leads to is checked as well as the name: ``vlp.some.module.os.system`` starts like one of ours.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from vlp.configs.showing import spelt
from vlp.configs.spelling import did_you_mean

PLUGIN_GROUP = "vlp.plugins"

ALLOWED = (
    "torch.nn",
    "torch.optim",
    "torchmetrics.aggregation",
    "torchmetrics.classification",
    "torchmetrics.clustering",
    "torchmetrics.nominal",
    "torchmetrics.regression",
    "torchmetrics.retrieval",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.callbacks",
    "pytorch_lightning.loggers",
    "pytorch_lightning.plugins",
    "pytorch_lightning.profilers",
    "pytorch_lightning.strategies",
)
"""External packages, or single classes, whose classes a config may name; none of them fetches anything."""

REFUSED = ("vlp.configs", "vlp.commands", "vlp.durable", "vlp.results", "vlp.report")
"""Our modules that no config may call: they decide what is allowed, start processes, write and delete."""

_trusted: list[Path] = []


@functools.cache
def plugin_packages() -> tuple[str, ...]:
    """Return the config packages that installed plug-ins register, as dotted names such as ``their_package.conf``."""
    return tuple(entry.value.removeprefix("pkg://") for entry in metadata.entry_points(group=PLUGIN_GROUP))


def trust_folder(folder: Path | str) -> None:
    """Put a ``--config-dir`` folder on both search paths: its YAML files are options, its modules may be targets."""
    folder = Path(folder).resolve()
    if folder not in _trusted:
        _trusted.append(folder)
        sys.path.append(str(folder))  # last: it must not shadow what is installed
        importlib.invalidate_caches()


def trusted_folders() -> tuple[Path, ...]:
    """Return the folders given to `trust_folder`, for handing them to another process."""
    return tuple(_trusted)


def check_targets(tree: Any, key: str = "") -> None:
    """Check every ``_target_`` of a resolved tree by name, importing nothing.

    Raises:
        ValueError: ``TARGET is not allowed at KEY``.
    """
    for at, target in targets(tree, key):
        if not _is_allowed(target):
            raise ValueError(f"{spelt(str(target))} is not allowed at {spelt(at) or 'the top'}")


def check_objects(tree: Any, key: str = "") -> None:
    """Check what every ``_target_`` of a tree leads to, importing the modules that define them.

    Raises:
        ValueError: if one does not exist, or is reached through another module's imports.
    """
    for at, target in targets(tree, key):
        found = _locate(target, at or "the config")
        home = getattr(found, "__module__", None) or ""
        name = f"{home}.{getattr(found, '__qualname__', '')}"
        may_be_function = not _is_under(target, ALLOWED) and not _is_under(home, ("vlp",))
        if not callable(found) or not _is_home(home, target) or not (may_be_function or inspect.isclass(found)):
            raise ValueError(f"{spelt(target)} is not allowed at {spelt(at) or 'the top'}: it is {name}")


def check_class(target: str, homes: Sequence[str], key: str) -> None:
    """Check that ``target`` is a class that a module below ``homes`` defines.

    Raises:
        ValueError: ``TARGET is not allowed at KEY``, or that there is none of this name.
    """
    found = _locate(target, key)
    if not inspect.isclass(found) or not _is_under(found.__module__, homes):
        raise ValueError(f"{spelt(target)} is not allowed at {spelt(key)}")


def is_shipped(target: Any) -> bool:
    """Whether ``target`` is ours or an external library's, rather than a plug-in's or a trusted folder's."""
    return isinstance(target, str) and _is_under(target, ("vlp", *ALLOWED))


def targets(tree: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield (key, target) of every node that has a ``_target_``, outermost first."""
    if isinstance(tree, Mapping):
        if "_target_" in tree:
            yield key, tree["_target_"]
        for name, value in tree.items():
            yield from targets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        for index, value in enumerate(tree):
            yield from targets(value, f"{key}[{index}]")


def _is_allowed(target: Any) -> bool:
    if not isinstance(target, str):
        return False
    parts = target.split(".")
    is_name = len(parts) > 1 and all(part.isidentifier() and not part.startswith("_") for part in parts)
    return is_name and (_is_under(target, ALLOWED) or _is_own(target))


def _is_home(home: str, target: str) -> bool:
    """Whether objects that ``home`` defines may be named, there or where another admitted module re-exports them."""
    if target in ALLOWED:  # a single class may be defined anywhere in its package
        return _is_under(home, (target.split(".")[0],))
    return _is_under(home, ALLOWED) or _is_own(home)


def _is_own(name: str) -> bool:
    owners = ("vlp", *(package.split(".")[0] for package in plugin_packages()))
    return (_is_under(name, owners) and not _is_under(name, REFUSED)) or _is_in_trusted_folder(name.split(".")[0])


def _is_under(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _is_in_trusted_folder(top: str) -> bool:
    """Whether the top-level module is a file or package of a trusted folder, and not one installed under that name."""
    loaded = getattr(sys.modules.get(top), "__file__", None)
    files = (file for folder in _trusted for file in (folder / f"{top}.py", folder / top / "__init__.py"))
    return any(file.is_file() and (loaded is None or Path(loaded).resolve() == file) for file in files)


def _locate(target: str, key: str) -> Any:
    """Import what ``target`` names."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not _is_under(module, (error.name,)):
                raise ValueError(f"{key}: {target} needs the module {error.name}, which is not installed") from error
            continue
        return _follow(found, parts[length:], key)
    raise ValueError(f"{key}: there is no module {parts[0]}, which {target} names")


def _follow(found: Any, names: Sequence[str], key: str) -> Any:
    for name in names:
        if not hasattr(found, name):
            public = [known for known in dir(found) if not known.startswith("_")]
            raise ValueError(f"{key}: {getattr(found, '__name__', found)} has no {name}{did_you_mean(name, public)}")
        found = getattr(found, name)
    return found
