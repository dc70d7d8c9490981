"""Peak memory of a pass beyond the model itself, each contender in a fresh process (the heap's history doubles it).

python -m benchmarks.memory CONTENDER LENGTH     # one figure, as JSON
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.goals import Goal

LENGTHS = (56, 112, 224)
OVER_PLAIN = {56: 1.5, 112: 1.3, 224: 1.5}
OVER_STORED = {112: 0.5, 224: 0.5}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def measure(rounds: int | None = None) -> list[Goal]:
    """Return peak memory of the measuring pass beside our plain forward and beside stored outputs."""
    del rounds  # a peak is the same every time
    if not os.access(CLEAR, os.W_OK):
        return [Goal("peak of measuring / plain forward", float("nan"), 1.3, note=f"{CLEAR} is not writable here")]
    goals = []
    for length in LENGTHS:
        peak = {
            name: _in_fresh_process(name, length) for name in CONTENDERS if name != "stored" or length in OVER_STORED
        }
        goals.append(
            Goal(f"peak at {length} tokens: measuring / plain", peak["streamed"] / peak["plain"], OVER_PLAIN[length])
        )
        if length in OVER_STORED:
            name = f"peak at {length} tokens: measuring / stored"
            goals.append(Goal(name, peak["streamed"] / peak["stored"], OVER_STORED[length]))
    return goals


def _in_fresh_process(contender: str, length: int) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", contender, str(length)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return int(json.loads(done.stdout)["growth"])


def _plain(length: int) -> Callable[[], object]:
    from benchmarks.passes import plain
    from benchmarks.subjects import Tokens, our_bert, their_bert

    model, tokens = our_bert(their_bert("sdpa")), Tokens.draw(length)
    plain(model, Tokens.draw(8, batch_size=1))
    return lambda: plain(model, tokens)


def _streamed(length: int) -> Callable[[], object]:
    from benchmarks.passes import streamed
    from benchmarks.subjects import Tokens, our_bert, their_bert

    model, tokens = our_bert(their_bert("sdpa")), Tokens.draw(length)
    streamed(model, Tokens.draw(8, batch_size=1))
    return lambda: streamed(model, tokens)


def _stored(length: int) -> Callable[[], object]:
    from benchmarks.passes import stored
    from benchmarks.subjects import Tokens, their_bert

    model, tokens = their_bert("eager"), Tokens.draw(length)
    stored(model, Tokens.draw(8, batch_size=1), with_nmi=False)
    return lambda: stored(model, tokens, with_nmi=False)


CONTENDERS = {"plain": _plain, "streamed": _streamed, "stored": _stored}


def growth(run: Callable[[], object]) -> int:
    """Return by how many bytes the resident set grew at its peak while ``run`` ran (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text(RESET_PEAK)
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    print(json.dumps({"growth": growth(CONTENDERS[sys.argv[1]](int(sys.argv[2])))}))
