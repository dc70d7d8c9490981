"""Words from files in messages: cut to a line, and nothing in them that moves a cursor or hides text."""

from __future__ import annotations

import reprlib
import unicodedata
from typing import Any

LONGEST = 60
"""Characters of a value that a message shows."""

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother, _short.maxlong = 3, LONGEST, LONGEST, LONGEST


def shown(value: Any) -> str:
    """Return ``repr(value)`` cut to `LONGEST` characters, in bounded time whatever the value's size and nesting."""
    text = _short.repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def printable(text: str) -> str:
    """Return ``text`` with line breaks, terminal escapes and other characters that print nothing spelt out."""
    return text if text.isprintable() else "".join(map(_printable, text))


def spelt(name: str) -> str:
    """Return a name as it is where all of it prints, else as `ascii` spells it out."""
    return name if name.isprintable() else ascii(name)


def _printable(letter: str) -> str:
    is_shown = letter.isprintable() or unicodedata.category(letter) == "Zs"  # spaces of any width
    return letter if is_shown else ascii(letter)[1:-1]
