"""What measuring, pre-training, saving, probing and starting cost, beside peers and goals; on an idle machine.

A GPU, where there is one, does the work of ``flow`` and ``parsing`` too, and steps of a paper's pre-training.

python -m benchmarks [--only ITEM ...] [--rounds N] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

ITEMS = ("nmi", "measuring", "memory", "flow", "parsing", "training", "checkpoint", "extraction", "probers", "start")
ON_A_GPU = "gpu"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print their table."""
    options = parse(arguments)
    os.environ.update(ONE_THREAD)  # read when the libraries are loaded, which is from here on
    import torch
    import transformers

    from benchmarks.goals import table

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    goals = []
    for name in options.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        goals += importlib.import_module(f"benchmarks.{name}").measure(options.rounds)
    print(table(goals))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        machine = {"platform": platform.platform(), "torch": torch.__version__}
        measured = {"machine": machine, "goals": [dataclasses.asdict(g) | {"verdict": g.verdict} for g in goals]}
        options.out.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=(*ITEMS, ON_A_GPU), default=(*ITEMS, ON_A_GPU))
    parser.add_argument("--rounds", type=int, help="how often each runs; by default 3 to 7 times")
    parser.add_argument("--out", type=Path, help="a JSON file to write the figures to")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
