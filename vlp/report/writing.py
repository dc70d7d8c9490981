"""Writing a report: the page, and beside it the tables it was made from and those in the papers' layout."""

from __future__ import annotations

from pathlib import Path

from vlp.durable.files import write_text
from vlp.published import judge, papers_of, tables_beside
from vlp.report.html import render
from vlp.report.published import write_tables
from vlp.report.reading import Findings
from vlp.results import RESULTS_FILE, write_records

REPORT_FILE = "report.html"


def write_report(findings: Findings, folder: Path | str) -> Path:
    """Write ``report.html`` into ``folder`` and return it.

    Beside it goes ``results.csv`` where there are rows, and where they stand beside a published table that
    (``value_table3.csv``) and ``claims.csv``.

    Raises:
        OSError: if ``folder`` cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records = findings.records
    if records:
        write_records(folder / RESULTS_FILE, records)
        write_tables(tables_beside(records), judge(records, papers_of(records)), folder)
    write_text(folder / REPORT_FILE, render(findings))
    return folder / REPORT_FILE
