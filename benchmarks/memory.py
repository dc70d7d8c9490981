"""Peak memory of a pass beyond the model itself, each contender in a fresh process (the heap's history doubles it).

Tensors are mapped one by one and pages stay small, so that what counts is memory in use, not how the heap happened to
break up: without this the same pass differs from itself by a quarter.

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
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal

LENGTHS = (56, 112, 224)
OVER_PLAIN = {56: 1.5, 112: 1.3, 224: 1.5}
OVER_STORED = {112: 0.5, 224: 0.5}
OWN = ("plain", "streamed", "stored")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
LIVE_MEMORY_ONLY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
PR_SET_THP_DISABLE = 41


def measure(rounds: int | None = None) -> list[Goal]:
    """Return peak memory of the measuring pass beside our plain forward and beside stored outputs."""
    del rounds  # a peak is the same every time
    if not os.access(CLEAR, os.W_OK):
        return [Goal("peak of measuring / plain forward", float("nan"), 1.3, note=f"{CLEAR} is not writable here")]
    goals = []
    for length in LENGTHS:
        peak = {name: in_fresh_process(name, length) for name in OWN if name != "stored" or length in OVER_STORED}
        goals.append(
            Goal(f"peak at {length} tokens: measuring / plain", peak["streamed"] / peak["plain"], OVER_PLAIN[length])
        )
        if length in OVER_STORED:
            name = f"peak at {length} tokens: measuring / stored"
            goals.append(Goal(name, peak["streamed"] / peak["stored"], OVER_STORED[length]))
    return goals


def in_fresh_process(contender: str, length: int) -> int:
    """Return the growth of one of `CONTENDERS` over ``length`` tokens, in bytes."""
    command = [sys.executable, "-m", "benchmarks.memory", contender, str(length)]
    environment = os.environ | LIVE_MEMORY_ONLY
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return int(json.loads(done.stdout)["growth"])


def _plain(length: int) -> Callable[[], object]:
    from benchmarks.passes import plain

    return _ready(plain, _our_bert(), length)


def _streamed(length: int) -> Callable[[], object]:
    from benchmarks.passes import streamed

    return _ready(streamed, _our_bert(), length)


def _flow(length: int) -> Callable[[], object]:
    from benchmarks.passes import streamed_flow

    return _ready(streamed_flow, _our_bert(), length)


def _stored(length: int) -> Callable[[], object]:
    from benchmarks.passes import stored
    from benchmarks.subjects import their_bert

    return _ready(partial(stored, with_nmi=False), their_bert("eager"), length)


def _our_bert() -> Any:
    from vlp.models import build

    return build("bert", size="base").requires_grad_(False)


def _ready(run: Callable[..., object], model: Any, length: int) -> Callable[[], object]:
    """Return a pass over ``length`` tokens after a short one, in which libraries set themselves up."""
    from benchmarks.subjects import Tokens

    tokens = Tokens.draw(length)
    run(model, Tokens.draw(8, batch_size=1))
    return lambda: run(model, tokens)


CONTENDERS = {"plain": _plain, "streamed": _streamed, "stored": _stored, "flow": _flow}


def growth(run: Callable[[], object]) -> int:
    """Return by how many bytes the resident set grew at its peak while ``run`` ran (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text(RESET_PEAK)
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def gpu_growth(run: Callable[[], object]) -> int:
    """Return by how many bytes the tensors on the GPU grew at their peak while ``run`` ran."""
    import torch

    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return torch.cuda.max_memory_allocated() - before


def _status(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    print(json.dumps({"growth": growth(CONTENDERS[sys.argv[1]](int(sys.argv[2])))}))
