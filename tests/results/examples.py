"""A row and its table, for tests."""

from __future__ import annotations

from pathlib import Path

from vlp.results import Row, Subject, write_results

SUBJECT = Subject("uniter", "tiny", "scenes-0123abcd", "scenes", "nmi", "", seed=0)
ROW = Row("model", "nmi", 0.25, n=16, stage="joint", query="joint", layer=1, ci_low=0.2, ci_high=0.3)


def table(folder: Path, *rows: Row, subject: Subject = SUBJECT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_results(folder / "results.csv", subject, rows)
    return folder / "results.csv"
