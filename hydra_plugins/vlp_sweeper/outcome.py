"""What a sweep leaves: the table of its cells, a report, and the scoreboard in the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from vlp.results import gather

log = logging.getLogger(__name__)

REPORT_FOLDER = "report"


def tell_outcome(folder: Path, done: Iterable[str]) -> None:
    """Write the table and the report of the sweep in ``folder``, print the scoreboard and where everything lies.

    Args:
        folder: the sweep's.
        done: the folders of the cells that are done; trainings, which have no table, are named one by one.
    """
    table = gather(folder)
    if table is None:
        sys.stdout.write("".join(f"done: {training}\n" for training in dict.fromkeys(done)))
        return
    page = _report(folder)
    sys.stdout.write(f"results: {table}\n{f'report: {page}' if page else ''}\n")


def _report(folder: Path) -> Path | None:
    """Write the report and print its scoreboard; None, with a warning, where that cannot be done.

    The measurements are whole without it, and ``python -m vlp.report`` makes it later.
    """
    from vlp.report import collect, print_scoreboard, write_report  # pandas, matplotlib: only once there is something

    try:
        findings = collect([folder])
        page = write_report(findings, folder / REPORT_FOLDER)
        print_scoreboard(findings.records)
    except (OSError, ValueError) as error:
        log.warning("no report of %s: %s", folder, error)
        return None
    return page
