"""Choosing sites: the one door through which layer numbers of users enter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vlp.models.observation import CaptureError, Site

__all__ = ["Site", "matching", "select_layers"]

ALL = "all"
LAST = "last"


def select_layers(spec: str | int | Sequence[int], count: int) -> tuple[int, ...]:
    """Return layer indices from 0, ascending, for what a user wrote about a model of ``count`` layers.

    Args:
        spec: ``all``, ``last N``, or one or several layers counted from 0; negative ones count from the end.
        count: how many layers there are.

    Raises:
        ValueError: naming the value and the range, if a layer does not exist or the words are not understood.
    """
    if isinstance(spec, str):
        return _by_words(spec, count)
    layers = [spec] if isinstance(spec, int) else list(spec)
    if not layers:
        raise ValueError("layers=[] selects no layer")
    for layer in layers:
        if isinstance(layer, bool) or not isinstance(layer, int) or not -count <= layer < count:
            raise ValueError(f"layers={layer!r} is out of range: the model has {count} layers, -{count} to {count - 1}")
    return tuple(sorted({layer % count for layer in layers}))


def _by_words(words: str, count: int) -> tuple[int, ...]:
    first, _, number = words.strip().partition(" ")
    if words.strip() == ALL:
        return tuple(range(count))
    if first != LAST or not number.strip().isdecimal():
        raise ValueError(f"layers={words!r} is not understood: expected 'all', 'last N', a layer or a list of layers")
    if not 1 <= int(number) <= count:
        raise ValueError(f"layers={words!r} is out of range: the model has {count} layers, last 1 to last {count}")
    return tuple(range(count - int(number), count))


def matching(sites: Iterable[Site], condition: Callable[[Site], bool]) -> tuple[Site, ...]:
    """Return the sites that meet ``condition``, in order.

    Raises:
        CaptureError: if none does, naming the sites there are.
    """
    sites = tuple(sites)
    chosen = tuple(site for site in sites if condition(site))
    if not chosen:
        raise CaptureError(f"no site matches; the model has {', '.join(map(str, sites))}")
    return chosen
