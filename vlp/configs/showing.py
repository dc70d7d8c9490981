"""Words from files in messages: cut to a line, and nothing in them that moves a cursor or hides text."""

from __future__ import annotations

import reprlib
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
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
