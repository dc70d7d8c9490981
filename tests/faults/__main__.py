"""``python -m tests.faults``: put every fault to what is computed, print what was lost and what was silent."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pkgutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

import tests.conftest  # noqa: F401 - before torch: it sets what the libraries read when they are imported
from tests import faults
from tests.faults.case import Case
from tests.faults.harness import Outcome, carry_out

COLUMNS = ("group", "cases", "inputs", "lost", "silent", "seconds")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the cases; return 1 if any was lost or silent."""
    asked = _parser().parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(_temporary_folder()))
        log = Console(file=stack.enter_context(asked.log.open("w", encoding="utf-8"))) if asked.log else None
        cases = [case for name in asked.only or groups() for case in cases_of(name, asked.seed, asked.count)]
        started = time.monotonic()
        outcomes = _watched(carry_out(cases, folder), len(cases), log)
    show(outcomes, time.monotonic() - started)
    return int(not all(outcome.is_good for outcome in outcomes))


def groups() -> list[str]:
    """Return the names of the modules beside this one that have cases."""
    return [name for name in _modules() if hasattr(_module(name), "cases")]


def cases_of(group: str, seed: int, count: int | None) -> list[Case]:
    """Return the cases of a group.

    Raises:
        ValueError: if there is no such group.
    """
    if group not in _modules() or not hasattr(_module(group), "cases"):
        raise ValueError(f"--only {group}: no such group; there are {', '.join(groups())}")
    found: list[Case] = _module(group).cases(seed, count)
    return found


def show(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Print each case that failed with its detail, and the table."""
    console = Console()
    for outcome in outcomes:
        if not outcome.is_good:
            console.out(describe(outcome), outcome.verdict.detail, sep="\n", end="\n\n", highlight=False)
    table = Table(*COLUMNS)
    for group in dict.fromkeys(outcome.case.group for outcome in outcomes):
        table.add_row(group, *_figures([outcome for outcome in outcomes if outcome.case.group == group]))
    table.add_section()
    *counts, _ = _figures(outcomes)
    table.add_row("all", *counts, f"{seconds:.0f}")
    console.print(table)


def describe(outcome: Outcome) -> str:
    """Return which case it was and how it ended, in a line."""
    ends = [
        word for word, is_so in (("lost", not outcome.verdict.survived), ("silent", not outcome.verdict.told)) if is_so
    ]
    return f"{outcome.case.group}: {outcome.case.name}: {' and '.join(ends) or 'ok'} ({outcome.seconds:.1f} s)"


def _figures(outcomes: Sequence[Outcome]) -> list[str]:
    verdicts = [outcome.verdict for outcome in outcomes]
    figures = (
        len(verdicts),
        sum(verdict.inputs for verdict in verdicts),
        sum(not verdict.survived for verdict in verdicts),
        sum(not verdict.told for verdict in verdicts),
        round(sum(outcome.seconds for outcome in outcomes)),
    )
    return [str(figure) for figure in figures]


def _watched(outcomes: Iterable[Outcome], number: int, log: Console | None) -> list[Outcome]:
    """Return the outcomes, having said of each how it ended and written into ``log`` what it has to say."""
    done: list[Outcome] = []
    console = Console(stderr=True)
    for outcome in outcomes:
        done.append(outcome)
        line = f"[{len(done)}/{number}] {describe(outcome)}"
        console.out(line, highlight=False)
        if log is not None:
            log.out(line, outcome.verdict.detail, sep="\n", highlight=False)
    return done


def _modules() -> list[str]:
    names = sorted(module.name for module in pkgutil.iter_modules(faults.__path__))
    return [name for name in names if not name.startswith(("_", "test_"))]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{faults.__name__}.{name}")


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Give a folder that goes when all is done, whatever the faults have left in it."""
    return tempfile.TemporaryDirectory(prefix="vlp-faults-", ignore_cleanup_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="these groups instead of all")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn: moments, places, inputs (0)")
    parser.add_argument("--count", type=int, help="cases of each group at most, instead of all")
    parser.add_argument("--folder", type=Path, help="where the cases work, kept (a temporary folder)")
    parser.add_argument("--log", type=Path, help="a file for the detail of every case, failed or not")
    return parser


if __name__ == "__main__":
    sys.exit(main())
