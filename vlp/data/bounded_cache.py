"""A bounded memory of what was computed last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Keeps the last ``limit`` values, and forgets the one that was not asked for the longest. Pickles empty.

    Args:
        limit: how many values are kept; 0 keeps none.

    Raises:
        ValueError: if ``limit`` is negative.
    """

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise ValueError(f"a cache keeps 0 or more values, got cache={limit}")
        self.limit = limit
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value kept under ``key``, or compute and keep it."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = compute()
        if self.limit:
            self._values[key] = value
            if len(self._values) > self.limit:
                self._values.popitem(last=False)
        return value

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "_values": OrderedDict()}
