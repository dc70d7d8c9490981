"""Whether the scenes recipe works from every seed: three seeds of three models, and a table of where they end.

python -m benchmarks.seeds [--seeds 0,1,2] [--models uniter,visualbert,lxmert] [--out outputs/seeds] [KEY=VALUE ...]

Interrupted, it goes on where it was: train.py leaves a finished run as it is, and continues an unfinished one from its
last checkpoint.
"""

from __future__ import annotations

import argparse
import csv
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPE = "scenes"
COLUMNS = ("val/itm_accuracy", "val/itm_majority", "val/mlm", "val/mlm_mean_image")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing and print the table; return how many runs failed."""
    options = parse(arguments)
    cells = [(model, int(seed)) for seed in options.seeds.split(",") for model in options.models.split(",")]
    runs = {(model, seed): options.out / f"{model}-{seed}" for model, seed in cells}
    failed = 0
    for (model, seed), folder in runs.items():
        command = [sys.executable, str(ROOT / "train.py"), f"experiment={RECIPE}", f"model={model}", f"seed={seed}"]
        failed += subprocess.run([*command, f"hydra.run.dir={folder}", *options.overrides]).returncode != 0
    print(table({run: last_validation(folder) for run, folder in runs.items()}))
    return failed


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--models", default="uniter,visualbert,lxmert")
    parser.add_argument("--out", type=Path, default=Path("outputs/seeds"))
    parser.add_argument("overrides", nargs="*", help="more settings for train.py")
    return parser.parse_args(arguments)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Return what a run has logged so far, one row a step and kind."""
    file = folder / "metrics.csv"
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def last_validation(folder: Path) -> dict[str, float]:
    """Return the values of `COLUMNS` at the last validation, nan where there is none."""
    validated = [row for row in rows_of(folder) if row.get(COLUMNS[0])]
    return {name: float(validated[-1].get(name) or "nan") if validated else math.nan for name in COLUMNS}


def table(runs: dict[tuple[str, int], dict[str, float]]) -> str:
    """Return one line a run: matching accuracy, the larger class, and what the image saves a masked word in bits."""
    lines = [f"{'model':<12}{'seed':>4}{'itm accuracy':>14}{'majority':>10}{'image saves':>13}"]
    for (model, seed), values in runs.items():
        saved = (values["val/mlm_mean_image"] - values["val/mlm"]) / math.log(2)
        shares = f"{values['val/itm_accuracy']:>14.3f}{values['val/itm_majority']:>10.3f}"
        lines.append(f"{model:<12}{seed:>4}{shares}{saved:>8.2f} bits")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
