"""JSON documents that are one long list, or an object of long lists, read entry by entry in bounded memory.

What an entry may be is as in `vlp.data.json_lines`; lists that are not asked for are passed over, entry by entry too.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from vlp.configs.showing import shown
from vlp.data.json_lines import decode_at

CHUNK = 1024**2
"""Bytes that are read at a time."""

LONGEST_ENTRY = 16 * 1024**2
"""Characters of an entry."""

BLANK = " \t\n\r"


class Entry(NamedTuple):
    """An object of a list: the list's key (empty where the document is the list), where it stands, what it says."""

    key: str
    where: str
    values: dict[str, Any]


def read_entries(path: Path, keys: Collection[str] = ("",)) -> Iterator[Entry]:
    """Yield the entries of the lists ``keys`` of a document, in the order of the file.

    Args:
        path: the file.
        keys: of a document that is an object, its lists that are read, each of which it must have; ``("",)`` for a
            document that is a list.

    Raises:
        ValueError: at the first place that is not as expected, naming file and entry.
    """
    with path.open("rb") as file:
        text = _Text(file, path)
        if "" in keys:
            text.expect("[", "a list")
            yield from text.entries("")
        else:
            yield from _lists(text, keys)
        text.expect("", "the end")


def _lists(text: _Text, keys: Collection[str]) -> Iterator[Entry]:
    text.expect("{", f"an object with {' and '.join(keys)}")
    seen: set[str] = set()
    while not text.passes("}"):
        if seen:
            text.expect(",", "',' or '}'")
        key = text.value(str(text.path))
        if not isinstance(key, str) or key in seen:
            raise ValueError(f"{text.path}: found {shown(key)}, expected a key that has not been yet")
        seen.add(key)
        text.expect(":", f"':' after {shown(key)}")
        if key in keys:
            text.expect("[", f"a list as {key}")
            yield from text.entries(key)
        elif text.passes("["):
            for _ in text.values(key):
                pass
        else:
            text.value(f"{text.path}, {shown(key)}")
    if missing := [key for key in keys if key not in seen]:
        found = ", ".join(sorted(map(shown, seen))) or "nothing"
        raise ValueError(f"{text.path}: found {found}, expected {missing[0]!r} as well")


class _Text:
    """What has been read of a file and not been used."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.path = path
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at, self._bytes = "", 0, 0

    def entries(self, key: str) -> Iterator[Entry]:
        """Yield the objects of the list that has begun."""
        for where, value in self.values(key):
            if not isinstance(value, dict):
                raise ValueError(f"{where}: found {shown(value)}, expected an object")
            yield Entry(key, where, value)

    def values(self, key: str) -> Iterator[tuple[str, Any]]:
        """Yield the values of the list that has begun, with where they stand."""
        number = 0
        while not self.passes("]"):
            where = f"{self.path}, {key}[{number}]"
            if number:
                self.expect(",", f"',' or ']' before {key}[{number}]")
            yield where, self.value(where)
            number += 1

    def passes(self, mark: str) -> bool:
        """Step over ``mark`` if it comes next."""
        if found := self._next() == mark:
            self._at += 1
        return found

    def expect(self, mark: str, expected: str) -> None:
        """Step over ``mark``, the end if it is empty."""
        if (found := self._next()) != mark:
            raise ValueError(f"{self.path}: found {shown(found) if found else 'the end'}, expected {expected}")
        self._at += len(mark)

    def value(self, where: str) -> Any:
        """Return the value that comes next."""
        self._next()
        while True:
            try:
                value, end = decode_at(self._text, self._at, where)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > LONGEST_ENTRY:
                    problem = f"not JSON within {LONGEST_ENTRY:,} characters ({error.msg})"
                elif self._more():
                    continue
                else:
                    problem = f"not JSON where the file ends ({error.msg})"
                raise ValueError(f"{where}: {problem}") from error
            if end + len("e+") >= len(self._text) and self._more():  # a number may go on
                continue
            self._at = end
            return value

    def _next(self) -> str:
        """Return the next character that is not blank, empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in BLANK:
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _more(self) -> bool:
        """Read on, forgetting what has been used; return whether there was anything."""
        chunk = self._file.read(CHUNK)
        try:
            more = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            place = max(0, self._bytes + error.start - len(self._decoder.getstate()[0])) + 1
            raise ValueError(f"{self.path}: near byte {place} it is not UTF-8 ({error.reason})") from error
        if chunk:
            self._text, self._at = self._text[self._at :] + more, 0
            self._bytes += len(chunk)
        return bool(chunk)
