"""Time of the measuring pass, beside a plain forward of transformers and beside measuring from its stored outputs."""

from __future__ import annotations

from functools import partial

from benchmarks.goals import Goal
from benchmarks.passes import plain, stored, streamed
from benchmarks.subjects import Tokens, our_bert, their_bert
from benchmarks.timing import Contenders, interleave, ratio

LENGTH = 56
ROUNDS = 7
KEPT_KB = 60


def measure(rounds: int | None = None) -> list[Goal]:
    """Return what measuring costs."""
    tokens = Tokens.draw(LENGTH)
    fused, eager = their_bert("sdpa"), their_bert("eager")
    ours = our_bert(fused)
    contenders: Contenders = {
        "measuring": partial(streamed, ours, tokens),
        "plain forward": partial(plain, fused, tokens),
        "stored": partial(stored, eager, tokens),
    }
    times = interleave(contenders, rounds or ROUNDS)
    kept = streamed(ours, tokens).bytes_a_sample / 1000
    return [
        Goal.of_ratio("measuring pass / transformers' SDPA forward", ratio(times, "measuring", "plain forward"), 1.06),
        Goal.of_ratio("measuring pass / stored outputs + scikit-learn", ratio(times, "measuring", "stored"), 0.55),
        Goal("kept a sample, kB", kept, KEPT_KB),
    ]
