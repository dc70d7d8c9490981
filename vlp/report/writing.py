"""Writing a report: the page, and the table it was made from beside it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from vlp.report.html import render
from vlp.report.reading import Findings
from vlp.results import RESULTS_FILE, write_records

REPORT_FILE = "report.html"


def write_report(findings: Findings, folder: Path | str) -> Path:
    """Write ``report.html`` and, where there are rows, ``results.csv`` into ``folder``; return the page.

    Raises:
        OSError: if ``folder`` cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if findings.records:
        write_records(folder / RESULTS_FILE, findings.records)
    page = folder / REPORT_FILE
    temporary = folder / f".{REPORT_FILE}.{uuid.uuid4().hex}"
    temporary.write_text(render(findings), encoding="utf-8")
    os.replace(temporary, page)
    return page
