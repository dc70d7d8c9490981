"""Whether a checkpoint is built as those that are written here; one of another version, or a damaged one, is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from vlp.durable.digests import DamagedError

Shape = Mapping[str, "type | UnionType | Shape"]
"""Names that have to be there, and for each the type of its value, or what that has in it."""


def check_structure(found: Any, expected: Shape, path: Path | str, key: str = "") -> None:
    """Check that ``found`` has every name of ``expected``, all the way down, and values of those types.

    Args:
        found: a checkpoint, or a part of it.
        expected: what going on from it needs; there may be more.
        path: the checkpoint's file.
        key: of the part within it; empty for the whole.

    Raises:
        DamagedError: naming the file, what it lacks, and what to do.
    """
    if not isinstance(found, Mapping):
        raise _damaged(path, f"{key or 'what it holds'} is of type {type(found).__name__}, expected a mapping")
    for name, part in expected.items():
        inner = f"{key}.{name}" if key else name
        if name not in found:
            raise _damaged(path, f"{inner} is missing")
        if isinstance(part, Mapping):
            check_structure(found[name], part, path, inner)
        elif not isinstance(found[name], part):
            wanted = getattr(part, "__name__", str(part))
            raise _damaged(path, f"{inner} is of type {type(found[name]).__name__}, expected {wanted}")


def shape_of(tree: Mapping[str, Any]) -> Shape:
    """Return the shape that ``tree`` has itself."""
    return {name: shape_of(part) if isinstance(part, Mapping) else type(part) for name, part in tree.items()}


def _damaged(path: Path | str, why: str) -> DamagedError:
    return DamagedError(
        f"{path} is damaged or of another version: {why}, and without it no training goes on; "
        "delete the file, or begin anew with resume=never"
    )
