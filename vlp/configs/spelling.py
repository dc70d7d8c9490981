"""Hints for names that nearly exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 30
"""Names listed at most where none is near."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean A or B?`` for the names nearest to ``word``, or the list of what there is."""
    known = [str(name) for name in known]
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"; there is {', '.join(known[:SHOWN])}{more}" if known else ""
