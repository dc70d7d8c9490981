"""Names that files give us (image ids, folders, identifiers) and that become parts of paths."""

from __future__ import annotations

from vlp.configs.showing import shown

LONGEST_NAME = 200
"""Bytes of a name; a file system takes 255, and readers add a split and an ending."""

SEPARATORS = frozenset("/\\")


def plain_name(name: str, where: str) -> str:
    """Return ``name`` if it can be one part of a path and no more, on any system.

    Args:
        name: what a file says.
        where: file, record and field, for errors.

    Raises:
        ValueError: if it is empty, ``.`` or ``..``, too long, or holds a separator or a character that does not print.
    """
    if name in ("", ".", ".."):
        raise ValueError(f"{where}: found {name!r}, expected a plain name")
    if SEPARATORS & set(name) or not name.isprintable():
        raise ValueError(f"{where}: found {shown(name)}, expected a plain name, without / \\ or control characters")
    if (length := len(name.encode())) > LONGEST_NAME:
        raise ValueError(f"{where}: found a name of {length} bytes, {shown(name)}; expected at most {LONGEST_NAME}")
    return name
