"""``python -m vlp.report DIR [DIR...]``: results of runs, cells or sweeps as one page, one table and a text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlp.configs.showing import printable
from vlp.report.reading import Findings, collect
from vlp.report.scoreboard import scoreboard, unanswered
from vlp.report.text import print_published, print_scoreboard
from vlp.report.writing import write_report

OUT = Path("outputs/report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    It is 1 where a file cannot be read or ``--strict`` finds something lacking, 2 where there is nothing to report.
    """
    options = parser().parse_args(arguments)
    try:
        findings = collect(options.folders)
        page = write_report(findings, options.out)
    except (OSError, ValueError) as error:
        print(f"vlp.report: {printable(str(error))}", file=sys.stderr)
        return 2
    if findings.records:
        print_scoreboard(findings.records)
        print_published(findings.records)
    print(f"report: {page}")
    lacking = [*what_lacks(findings)]
    for words in (*(f"not read: {problem}" for problem in findings.problems), *lacking):
        print(printable(words), file=sys.stderr)
    return 1 if findings.problems or (lacking and options.strict) else 0


def what_lacks(findings: Findings) -> Iterator[str]:
    """Yield in words what a complete report would have: rows in every table, an answer from them, and its controls."""
    yield from (f"{path}: a table without a row" for path in findings.empty)
    answers = scoreboard(findings.records)
    for subject in unanswered(findings.records, answers):
        named = " ".join(filter(None, [subject.probe, subject.prober, subject.model, subject.weights, subject.dataset]))
        yield f"rows that answer nothing: {named}"
    incomplete = [answer for answer in answers if answer.missing]
    if incomplete:
        yield f"answers that lack controls: {len(incomplete)}; the report marks them"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    command = argparse.ArgumentParser(
        prog="python -m vlp.report",
        description="Make one self-contained report.html, results.csv and a scoreboard from runs.",
        epilog="example: python -m vlp.report outputs/train outputs/cells --out outputs/report",
    )
    command.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a run, a cell, a sweep, or all below")
    command.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"where to write (default: {OUT})")
    command.add_argument("--strict", action="store_true", help="exit with 1 if rows, answers or their controls lack")
    return command


if __name__ == "__main__":
    sys.exit(main())
