"""Hints for names that nearly exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 30
"""Names listed at most where none is near."""
CUTOFF, MARGIN = 0.6, 0.25
"""How near a name must be at least, and how much less near than the nearest it may be; 1 is the same."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean A or B?`` for the names nearest to ``word``, or the list of what there is."""
    known = [str(name) for name in known]
    near = difflib.get_close_matches(word, known, n=3, cutoff=CUTOFF)
    if near:
        nearness = [difflib.SequenceMatcher(None, name, word).ratio() for name in near]
        near = [name for name, ratio in zip(near, nearness, strict=True) if ratio >= max(nearness) - MARGIN]
        return f"; did you mean {' or '.join(near)}?"
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"; there is {', '.join(known[:SHOWN])}{more}" if known else ""
