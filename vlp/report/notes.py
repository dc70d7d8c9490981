"""What in a report cannot be compared with what, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from vlp.report.comparing import MODEL
from vlp.report.measures import measure
from vlp.report.reading import Findings
from vlp.results import Record

FEW_ITEMS = 100
"""Below this many items an interval from a normal approximation says little."""

GENERATED_DATASET, PAPER_SIZE = "scenes", "base"


def notes(findings: Findings) -> list[str]:
    """Return one sentence or two a reason, the most general first."""
    records = findings.records
    return [*_about_scale(records), *_about_runs(findings), *_about_numbers(records)]


def _about_scale(records: Sequence[Record]) -> Iterator[str]:
    if any(record.dataset == GENERATED_DATASET for record in records):
        yield (
            "Numbers on scenes are about a small generated world of drawn shapes and templated captions. They show "
            "what a method finds where the truth is known; they cannot be set beside numbers measured on photographs."
        )
    below = _distinct(record.size for record in records if record.size not in ("", PAPER_SIZE))
    if below:
        yield f"Models of size {_listed(below)} are far smaller than the papers' (base: 12 layers, 768 wide)."
    if any(record.weights == "random" for record in records):
        yield "Weights named random were never trained: such rows are a control, not a finding about the architecture."
    for column in ("dataset", "size"):
        values = _distinct(str(getattr(record, column)) for record in records)
        if len(values) > 1:
            yield f"Rows differ in {column} ({_listed(values)}): compare models only within one {column}."


def _about_runs(findings: Findings) -> Iterator[str]:
    runs = findings.runs
    if findings.problems:
        yield f"Not in this report, since it cannot be read: {'; '.join(findings.problems)}."
    if findings.empty:
        yield f"Tables without a row: {_listed([str(path) for path in findings.empty])}."
    commits = _distinct(str(run.run["git_commit"]) for run in runs if run.run.get("git_commit"))
    if len(commits) > 1:
        short = _listed([commit[:8] for commit in commits])
        yield f"Runs were made with {len(commits)} versions of the code ({short})."
    if any("+" in commit for commit in commits):
        yield "Some runs were made with uncommitted changes (commit marked +): the commit alone cannot repeat them."
    unfinished = [run.path.name for run in runs if run.run.get("finished") is False]
    if unfinished:
        yield f"Not finished when this was written: {_listed(unfinished)}."
    unrecorded = [run.path.name for run in runs if not run.run]
    if unrecorded:
        yield f"No run.json, so how these were made is not known: {_listed(unrecorded)}."
    if findings.conflicts:
        first = findings.conflicts[0]
        yield (
            f"Rows about the same thing as another row, with another value: {len(findings.conflicts)} "
            f"(first: {describe(first)}: {_both(findings, first)})."
        )


def _both(findings: Findings, left: Record) -> str:
    """Return the two values of one thing, and the cell that each stands in."""
    kept = next(record for record in findings.records if record.identity == left.identity)
    homes = [next(cell.path.name for cell in findings.cells if each in cell.records) for each in (kept, left)]
    shown = measure(left.metric)
    return f"{shown.value(kept.value)} in {homes[0]}, kept, and {shown.value(left.value)} in {homes[1]}, left out"


def _about_numbers(records: Sequence[Record]) -> Iterator[str]:
    few = [record for record in records if record.n < FEW_ITEMS]
    if few:
        smallest = min(few, key=lambda record: record.n)
        yield f"Numbers on fewer than {FEW_ITEMS} items: {len(few)} (fewest: {smallest.n}, {describe(smallest)})."
    sampled = [record for record in records if record.condition == MODEL and record.ci_low is None]
    if sampled:
        yield f"Numbers without an interval: {len(sampled)} (first: {describe(sampled[0])}); no verdict rests on them."
    if any(record.head is not None for record in records):
        yield "The largest of many heads is larger than it would be on other data: it was picked on these."
    if len({record.seed for record in records}) <= 1:
        yield "All rows have one seed: intervals cover the choice of items, not of the seed."


def describe(record: Record) -> str:
    """Return what a row is about: everything that is not empty, short."""
    names = ("probe", "model", "dataset", "metric", "condition", "label", "parameter")
    words = [getattr(record, name) for name in names]
    numbers = [f"{name} {getattr(record, name)}" for name in ("layer", "head") if getattr(record, name) is not None]
    return ", ".join(filter(None, [*words, *numbers]))


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values))


def _listed(values: Sequence[str], most: int = 4) -> str:
    return ", ".join(values[:most]) + (f" and {len(values) - most} more" if len(values) > most else "")
