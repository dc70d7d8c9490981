"""Many strings in two arrays: a caption takes its letters and 8 bytes, and is not copied by workers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class Strings:
    """Strings by number.

    Args:
        letters: (N,) uint8, the strings in UTF-8 one after the other.
        ends: (n,) int64, where each ends in ``letters``.
    """

    def __init__(self, letters: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self.letters, self.ends = letters, ends

    @classmethod
    def of(cls, strings: Iterable[str]) -> Strings:
        """Return the strings of an iterable."""
        writer = StringsWriter()
        for string in strings:
            writer.add(string)
        return writer.strings()

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self.ends):
            raise IndexError(f"string {index}: expected a number from 0 to {len(self.ends) - 1}")
        start = self.ends[index - 1] if index else 0
        return self.letters[start : self.ends[index]].tobytes().decode("utf-8")


class StringsWriter:
    """Makes `Strings`, one by one."""

    def __init__(self) -> None:
        self._letters, self._ends = bytearray(), array("q")

    def add(self, string: str) -> None:
        """Add a string."""
        self._letters += string.encode("utf-8")
        self._ends.append(len(self._letters))

    def strings(self) -> Strings:
        """Return what was added."""
        return Strings(np.frombuffer(self._letters, dtype=np.uint8), np.array(self._ends, dtype=np.int64))
