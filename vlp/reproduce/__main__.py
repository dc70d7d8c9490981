"""``python -m vlp.reproduce [NAME...] [--list] [KEY=VALUE...] [out=DIR]``: measure artefacts and report them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vlp.commands.stopped import end_stopped
from vlp.configs.showing import printable
from vlp.durable import stopping
from vlp.durable.stopping import Stopped
from vlp.published import ARTEFACTS, artefact_names
from vlp.report import collect, print_published, write_report
from vlp.reproduce.naming import ALL, Request, request
from vlp.reproduce.running import measure
from vlp.reproduce.state import ROOT, State, state_of
from vlp.results import FIGURES_FOLDER

OUT, SEEDS = "out=", "seeds="

REPORT = "report"
"""Where a sweep reports below its folder, and where we do, of all that was asked for."""

EXAMPLES = """\
copy and paste:
  python -m vlp.reproduce --list                            every table and figure, and how much of it is there
  python -m vlp.reproduce value/table3                      one of them, into outputs/reproduce/value/table3
  python -m vlp.reproduce value out=outputs/mine            all of a paper, elsewhere
  python -m vlp.reproduce value/table3 model=uniter seed=1 out=outputs/seed1  with settings of probe.py
  python -m vlp.reproduce visual_parsing/table5 seeds=3     with seeds 0, 1 and 2"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where a cell failed, 2 for what cannot be asked for, 128 + n after a signal."""
    stopping.install()
    options = parser().parse_intermixed_args(arguments)
    names = [word for word in options.words if "=" not in word and not word.startswith("~")]
    out = next((word.removeprefix(OUT) for word in reversed(options.words) if word.startswith(OUT)), None)
    settings = [word for word in options.words if word not in names and not word.startswith(OUT)]
    try:
        overrides = [every_seed(word) if word.startswith(SEEDS) else word for word in settings]
        if out == "":
            raise ValueError("out= is empty; give a folder")
        asked = request(names or [ALL], None if out is None else Path(out))
        if options.list or not options.words:
            print_states(states(asked))
            return 0
        if not names:
            raise ValueError(f"{' '.join(options.words)}: what is to be measured? Give a name, or --list")
        return reproduce(asked, overrides)
    except Stopped as stopped:
        return end_stopped(stopped)
    except (OSError, ValueError) as error:
        print(f"vlp.reproduce: {printable(str(error))}", file=sys.stderr)
        return 2


def every_seed(word: str) -> str:
    """Return ``seeds=3`` as the seeds that it stands for, ``seed=0,1,2``.

    Raises:
        ValueError: if it is no number of seeds.
    """
    count = word.removeprefix(SEEDS)
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f"{word}: expected how many seeds there are to be, 1 or more")
    return f"seed={','.join(map(str, range(int(count))))}"


def reproduce(asked: Request, overrides: Sequence[str]) -> int:
    """Measure what is missing and report what is there; return 1 where a cell failed."""
    failed = [name for name, folder in asked.folders.items() if measure(ARTEFACTS[name], folder, overrides) != 0]
    print_states(state_of(name, folder) for name, folder in asked.folders.items())
    if asked.left_out:
        print(f"not here yet, no experiment yet: {', '.join(asked.left_out)}")
    measured = [folder for folder in asked.folders.values() if any((folder / "cells").glob("*/results.csv"))]
    if measured:
        print(f"writing the report of {len(measured)} into {asked.out / REPORT}", flush=True)
        findings = collect(measured)
        page = write_report(findings, asked.out / REPORT)
        print_published(findings.records)
        for picture in pictures(asked):
            print(f"picture: {picture}")
        print(f"report: {page}")
    if failed:
        print(f"cells failed, so these are not whole: {', '.join(failed)}; the same command goes on", file=sys.stderr)
    return 1 if failed else 0


def pictures(asked: Request) -> Iterator[Path]:
    """Yield the files of finished cells that are to be held against the papers' pictures."""
    for name, folder in asked.folders.items():
        if pattern := ARTEFACTS[name].pictures:
            yield from sorted(folder.glob(f"cells/*/{FIGURES_FOLDER}/{pattern}"))


def states(asked: Request) -> Iterator[State]:
    """Yield the state of everything asked for, in the order of the papers."""
    for name in artefact_names():
        if name in asked.folders or name in asked.left_out:
            yield state_of(name, asked.folders.get(name, asked.out))


def print_states(found: Iterable[State]) -> None:
    """Print one line an artefact."""
    found = list(found)
    width = max((len(state.name) for state in found), default=0)
    for state in found:
        print(f"{state.name:<{width}}  {state.words}")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    command = argparse.ArgumentParser(
        prog="python -m vlp.reproduce",
        description="Measure tables and figures of the papers and set them beside the printed numbers.\n"
        "What is finished is not measured again.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "words",
        nargs="*",
        metavar="NAME | KEY=VALUE | out=DIR",
        help=f"value/table3, value (a paper), all; settings of probe.py; where to (default: {ROOT}/NAME)",
    )
    command.add_argument(
        "--list", action="store_true", help="show every artefact (of NAME, in out=) and how much of it is there"
    )
    return command


if __name__ == "__main__":
    sys.exit(main())
