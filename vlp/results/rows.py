"""The result row: what a probe gives (`Row`), whose it is (`Subject`), and both as a line of the table (`Record`)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

STAGES = ("", "joint", "text", "vision", "cross")
STREAMS = ("", "joint", "text", "vision")

FRACTIONS = frozenset({"accuracy", "balanced_accuracy", "recall", "nmi", "mass", "share", "flow"})
"""Metrics that are fractions, never percent."""


@dataclass(frozen=True)
class Row:
    """One number that a probe found.

    Args:
        condition: what was measured, ``model`` or a control such as ``random_weights``, ``shuffled``, ``chance``.
        metric: the word for the number, such as ``accuracy`` or ``nmi``.
        value: the number; fractions in [0, 1].
        n: the number of items behind it.
        stage: joint, text, vision or cross; empty where it does not apply, as all that follow.
        query: the stream that attends, or whose hidden state it is.
        key: the stream attended to.
        layer: from 1; 0 is the embedding output.
        head: from 1.
        label: the class or kind of item.
        parameter: what the probe varied, ``threshold=0.5``.
        ci_low: lower end of the 95 % interval; given together with ``ci_high``.
        ci_high: its upper end.
        prober_seed: of the prober that found it; None for the mean over prober seeds, and where none is trained.
    """

    condition: str
    metric: str
    value: float
    n: int
    stage: str = ""
    query: str = ""
    key: str = ""
    layer: int | None = None
    head: int | None = None
    label: str = ""
    parameter: str = ""
    ci_low: float | None = None
    ci_high: float | None = None
    prober_seed: int | None = None


@dataclass(frozen=True)
class Subject:
    """Whose numbers they are: what all rows of a cell share.

    ``weights`` is ``random`` or a short name with the first 8 digits of its sha256 (`short_name`, `name_with_row`).
    """

    model: str
    size: str
    weights: str
    dataset: str
    probe: str
    prober: str
    seed: int


@dataclass(frozen=True)
class Record:
    """One line of ``results.csv``; the fields of `Subject` and `Row`, in the order of the columns."""

    model: str
    size: str
    weights: str
    dataset: str
    probe: str
    prober: str
    condition: str
    metric: str
    stage: str
    query: str
    key: str
    layer: int | None
    head: int | None
    label: str
    parameter: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    seed: int
    prober_seed: int | None

    @property
    def row(self) -> str:
        """The row of a table whose checkpoint it is, as `name_with_row` and ``recipe:NAME@row`` say it; else empty."""
        return self.weights.rpartition("-")[0].partition("@")[2]

    @classmethod
    def of(cls, subject: Subject, row: Row) -> Record:
        """Return the line that ``row`` is for ``subject``."""
        return cls(**vars(subject), **vars(row))

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that tells a line from the others: everything but value, interval and n."""
        return tuple(getattr(self, name) for name in COLUMNS if name not in ("value", "ci_low", "ci_high", "n"))


COLUMNS = tuple(field.name for field in dataclasses.fields(Record))


def short_name(stem: str, sha256: str) -> str:
    """Return the word for weights in ``results.csv``: a short name with the first 8 digits of their sha256."""
    clean = "".join(letter if letter.isalnum() or letter in "._@" else "_" for letter in stem)
    return f"{clean}-{sha256[:8]}"


def name_with_row(name: str, row: str) -> str:
    """Return the short name of a file's weights as those of a table's ``row`` (may be empty), which `Record.row` reads.

    What the user called the file says nothing of a row: an ``@`` in it becomes ``_``.

    >>> name_with_row("me@work-0011aabb", "r50")
    'me_work@r50-0011aabb'
    """
    stem, _, digits = name.rpartition("-")
    return f"{'@'.join(filter(None, [stem.replace('@', '_'), row]))}-{digits}"


def check(record: Record) -> None:
    """Check one line against what its columns say.

    Raises:
        ValueError: naming what is wrong, and the line.
    """
    ends = f"interval {record.ci_low}, {record.ci_high}"
    is_off = record.metric in FRACTIONS and not 0 <= record.value <= 1
    wrong = [
        (not record.condition, "condition is empty"),
        (not record.metric, "metric is empty"),
        (record.stage not in STAGES, f"stage={record.stage!r}, expected one of {STAGES}"),
        (record.query not in STREAMS, f"query={record.query!r}, expected one of {STREAMS}"),
        (record.key not in STREAMS, f"key={record.key!r}, expected one of {STREAMS}"),
        (record.layer is not None and record.layer < 0, f"layer={record.layer}, expected 0 or more"),
        (record.head is not None and record.head < 1, f"head={record.head}, expected 1 or more"),
        (not math.isfinite(record.value), f"value={record.value}, expected a finite number"),
        (is_off, f"value={record.value}, expected a fraction in [0, 1]"),
        ((record.ci_low is None) != (record.ci_high is None), f"{ends} is half given"),
        (not _is_interval(record), f"{ends} is not finite and in order"),
        (record.n < 1, f"n={record.n}, expected 1 or more"),
    ]
    for is_wrong, what in wrong:
        if is_wrong:
            raise ValueError(f"{what}, in {describe(record)}")


def _is_interval(record: Record) -> bool:
    if record.ci_low is None or record.ci_high is None:
        return True
    return math.isfinite(record.ci_low) and math.isfinite(record.ci_high) and record.ci_low <= record.ci_high


def describe(record: Record) -> str:
    """Return what a line is about, ``column=value`` for what is not empty."""
    return ", ".join(f"{name}={getattr(record, name)}" for name in COLUMNS if getattr(record, name) not in ("", None))
