"""Configs as plain data: finding an option's YAML, checking what it may call, and building what it describes.

Configs are data that anybody may have written, so `_target_` is checked against an allow-list before anything is built:
our own modules, the packages of registered plug-ins (entry-point group ``vlp.plugins``), Python modules in a folder that
the user named with ``--config-dir`` (`trust_folder`), and the few externals in `ALLOWED`.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hydra.utils import instantiate as hydra_instantiate
from omegaconf import OmegaConf

PLUGIN_GROUP = "vlp.plugins"

ALLOWED = (
    "torch.nn",
    "torch.optim",
    "torchmetrics",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.callbacks",
    "pytorch_lightning.loggers",
    "pytorch_lightning.plugins",
    "pytorch_lightning.profilers",
    "pytorch_lightning.strategies",
)
"""External packages (or single classes) whose classes a config may name."""

REFUSED = ("vlp.configs", "vlp.commands")
"""Our modules that no config may call: they decide what is allowed, and start processes."""

_trusted_folders: list[Path] = []


def user_folder() -> Path:
    """Return the user's configuration folder, which is on the search path where it exists (``paths/local.yaml``)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "vlp"


@functools.cache
def plugin_packages() -> tuple[str, ...]:
    """Return the config packages that installed plug-ins register, as dotted names such as ``their_package.conf``."""
    return tuple(entry.value.removeprefix("pkg://") for entry in metadata.entry_points(group=PLUGIN_GROUP))


def trust_folder(folder: Path | str) -> None:
    """Put a ``--config-dir`` folder on both search paths: its YAML files are options, its Python files may be targets."""
    folder = Path(folder).resolve()
    if folder not in _trusted_folders:
        _trusted_folders.append(folder)
        sys.path.append(str(folder))  # last: it must not shadow what is installed
        importlib.invalidate_caches()


def trusted_folders() -> tuple[Path, ...]:
    """Return the folders given to `trust_folder`, for handing them to another process."""
    return tuple(_trusted_folders)


def option_names(group: str) -> list[str]:
    """Return the options of a config group such as ``model``, sorted, over the whole search path."""
    return sorted({file.name.removesuffix(".yaml") for file in _option_files(group)})


def read_option(group: str, name: str) -> dict[str, Any]:
    """Return one option's YAML as a plain dict, interpolations left as they are.

    Raises:
        ValueError: if the group has no such option, naming the nearest ones.
    """
    for file in _option_files(group):
        if file.name == f"{name}.yaml":
            return dict(OmegaConf.to_container(OmegaConf.create(file.read_text("utf-8")), resolve=False))  # type: ignore[arg-type]
    raise ValueError(f"{group}={name} is not an option{did_you_mean(name, option_names(group))}")


def resolve(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plain tree with its ``${...}`` interpolations filled in from the tree itself."""
    return dict(OmegaConf.to_container(OmegaConf.create(dict(tree)), resolve=True))  # type: ignore[arg-type]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean A or B?`` for the names nearest to ``word``, or the list of what there is."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there is {', '.join(known)}" if known else ""


def digest(tree: Any) -> str:
    """Return the sha256, in hexadecimal, of a plain tree as canonical JSON (keys sorted)."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def check_targets(tree: Any, key: str = "") -> None:
    """Check every ``_target_`` of a resolved tree by name, importing nothing.

    Raises:
        ValueError: ``TARGET is not allowed at KEY``.
    """
    for at, target in _targets(tree, key):
        if not _name_is_allowed(target):
            raise ValueError(f"{target} is not allowed at {at or 'the top'}")


def instantiate(config: Mapping[str, Any], /, *args: Any, _key_: str = "", **kwargs: Any) -> Any:
    """Build what ``config`` describes; ``args`` and ``kwargs`` are handed to its target and win over its keys.

    Nested ``_target_`` nodes are built first. With ``_partial_: true`` the result is a `functools.partial`. ``_key_`` says
    where the config stands in the whole tree, for errors.

    Raises:
        ValueError: if a target is not allowed, does not exist, or does not take these arguments, naming the key.
    """
    tree = {name: value for name, value in OmegaConf.to_container(OmegaConf.create(dict(config)), resolve=True).items()}  # type: ignore[union-attr]
    if "_target_" not in tree:
        raise ValueError(f"{_key_ or 'the config'} has no _target_; found {', '.join(map(str, tree)) or 'nothing'}")
    check_targets(tree, _key_)
    for at, target in _targets(tree, _key_):
        _check_object(target, at)
    is_partial = bool(tree.pop("_partial_", False))
    tree = {name: value for name, value in tree.items() if name not in kwargs}
    deferred = _build_children(tree, _key_)
    keywords = {**deferred.keywords, **kwargs}
    _check_arguments(deferred.func, args or deferred.args, keywords, is_partial, _key_)
    built = functools.partial(deferred.func, *(args or deferred.args), **keywords)
    return built if is_partial else built()


def _build_children(tree: dict[str, Any], key: str) -> functools.partial[Any]:
    """Let Hydra build the nested nodes, and unwrap what it makes of their errors."""
    try:
        deferred: functools.partial[Any] = hydra_instantiate({**tree, "_partial_": True, "_convert_": "all"})
        return deferred
    except Exception as error:
        cause = error.__cause__
        if cause is None:
            raise ValueError(f"{key or tree['_target_']}: {error}") from error
        where = str(error).rpartition("full_key: ")[2] if "full_key: " in str(error) else tree["_target_"]
        raise ValueError(f"{'.'.join(filter(None, (key, where)))}: {cause}") from cause


def _option_files(group: str) -> Iterator[Traversable]:
    for root in _roots():
        folder = root.joinpath(*group.split("/"))
        if folder.is_dir():
            yield from (file for file in folder.iterdir() if file.name.endswith(".yaml"))


def _roots() -> Iterator[Traversable]:
    """Yield the folders of the search path, first match first: as Hydra's, in the order of `SearchPath` of the plug-in."""
    yield from _trusted_folders
    yield from (folder for folder in [user_folder()] if folder.is_dir())
    yield from (resources.files(package) for package in ("vlp.conf", *plugin_packages()))


def _targets(tree: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield (key, target) of every node that has a ``_target_``, outermost first."""
    if isinstance(tree, Mapping):
        if "_target_" in tree:
            yield key, tree["_target_"]
        for name, value in tree.items():
            yield from _targets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        for index, value in enumerate(tree):
            yield from _targets(value, f"{key}[{index}]")


def _name_is_allowed(target: Any) -> bool:
    if not isinstance(target, str):
        return False
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() and not part.startswith("_") for part in parts):
        return False
    ours = ("vlp", *(package.partition(".")[0] for package in plugin_packages()))
    if _is_under(target, REFUSED):
        return False
    return _is_under(target, (*ours, *ALLOWED)) or _is_in_trusted_folder(parts[0])


def _is_under(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _is_in_trusted_folder(top: str) -> bool:
    """Whether the top-level module is a file or package of a trusted folder."""
    loaded = sys.modules.get(top)
    for folder in _trusted_folders:
        for file in (folder / f"{top}.py", folder / top / "__init__.py"):
            if file.is_file() and (loaded is None or Path(getattr(loaded, "__file__", None) or "").resolve() == file):
                return top not in sys.stdlib_module_names
    return False


def _check_object(target: str, key: str) -> None:
    """Check what the target's name leads to: nothing may be reached through a module's own imports."""
    found = _locate(target, key)
    home = getattr(found, "__module__", None) or ""
    own_name = f"{home}.{getattr(found, '__qualname__', '')}"
    is_external = _is_under(target, ALLOWED)
    if not callable(found) or inspect.ismodule(found) or not (_home_is_allowed(home, target) and _name_is_public(own_name)):
        raise ValueError(f"{target} is not allowed at {key or 'the top'}: it is {own_name}")
    if is_external and not inspect.isclass(found):
        raise ValueError(f"{target} is not allowed at {key or 'the top'}: only classes of {target.split('.')[0]} are")


def _home_is_allowed(home: str, target: str) -> bool:
    """Whether the module that defines an object is one whose objects may be named (privately, inside an allowed package)."""
    if target in ALLOWED:
        return _is_under(home, (target.split(".")[0],))
    top = home.split(".")[0]
    ours = ("vlp", *(package.partition(".")[0] for package in plugin_packages()))
    if _is_under(home, REFUSED):
        return False
    return _is_under(home, (*ours, *ALLOWED)) or _is_in_trusted_folder(top)


def _name_is_public(name: str) -> bool:
    return not name.rpartition(".")[2].startswith("__")


def _locate(target: str, key: str) -> Any:
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and not _is_under(module_name, (error.name,)):
                raise ValueError(f"{key or 'the config'}: {target} needs the module {error.name}, which is missing") from error
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                names = [name for name in dir(found) if not name.startswith("_")]
                raise ValueError(f"{key or 'the config'}: {module_name} has no {part}{did_you_mean(part, names)}")
            found = getattr(found, part)
        return found
    raise ValueError(f"{key or 'the config'}: there is no module {parts[0]} for {target}")


def _check_arguments(
    target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], is_partial: bool, key: str
) -> None:
    try:
        signature = inspect.signature(target)
    except ValueError:  # some builtins have none
        return
    try:
        (signature.bind_partial if is_partial else signature.bind)(*args, **kwargs)
    except TypeError as error:
        name = f"{target.__module__}.{target.__qualname__}"
        unknown = [word for word in kwargs if word not in signature.parameters]
        found = f"takes no {unknown[0]}{did_you_mean(unknown[0], signature.parameters)}" if unknown else f"is {error}"
        raise ValueError(f"{key or 'the config'}: {name} {found}") from error
