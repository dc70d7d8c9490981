"""The report as one HTML file that needs nothing else: no network, no font, no script of others.

Each section is a small function from what was found to what its template shows; `SECTIONS` is their order. Everything
that comes from data is escaped by jinja2, and the page allows no script but its own, by digest.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from vlp.configs.showing import printable
from vlp.published import TITLES, judge, papers_of, tables_beside
from vlp.report.comparing import (
    Measurement,
    Place,
    condition_title,
    conditions_of,
    measurements,
    of_prober_seeds,
    place_name,
    short_names,
)
from vlp.report.figures import svg
from vlp.report.measures import Measure, measure
from vlp.report.notes import notes
from vlp.report.panels import Figure
from vlp.report.provenance import provenance, title_of
from vlp.report.published import claims_for_page, table_for_page
from vlp.report.reading import Findings
from vlp.report.scoreboard import scoreboard, whose
from vlp.report.selection import result_figures
from vlp.report.training import training_figure
from vlp.report.wording import VERDICTS
from vlp.results import FIGURES_FOLDER, RESULTS_FILE, Record, Subject

log = logging.getLogger(__name__)

LONG_TABLE = 40
"""Rows above which a table starts closed."""

MAX_ROWS = 2000
"""Rows of a table that are shown; the rest stands in the table beside the report."""

PNG_START = b"\x89PNG\r\n\x1a\n"
MAX_PICTURE = 8
"""MiB of a picture that goes into the page."""


@dataclass(frozen=True)
class Section:
    """A part of the page: its heading, the template that shows it, and what the template is given."""

    title: str
    template: str
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """Return the name that links within the page use."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True)
class TableRow:
    """One measurement as a table shows it: words by column, then a record (or None) by condition."""

    words: tuple[str, ...]
    records: tuple[Record | None, ...]
    measure: Measure


def render(findings: Findings) -> str:
    """Return the page."""
    sections = [section for build in SECTIONS for section in build(findings)]
    script, style = _source("page.js"), _source("style.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template("report.html")
    return page.render(sections=sections, summary=summary(findings), style=style, script=script, script_digest=digest)


def summary(findings: Findings) -> str:
    """Return what the report is about in one line."""
    records = findings.records
    counts = [(len(findings.cells), "probe cell"), (len(findings.trainings), "training run"), (len(records), "number")]
    parts = [f"{count:,} {word}{'s' if count > 1 else ''}" for count, word in counts if count]
    for word, values in (("models", [r.model for r in records]), ("data", [r.dataset for r in records])):
        if values:
            parts.append(f"{word}: {', '.join(dict.fromkeys(values))}")
    return " · ".join(parts)


def scoreboard_section(findings: Findings) -> list[Section]:
    """What was asked, the answer in one line, with interval and controls."""
    answers = scoreboard(findings.records)
    if not answers:
        return []
    names = short_names(whose(answer) for answer in answers)
    groups: dict[str, dict[str, Any]] = {}
    for answer in answers:
        name = names[whose(answer)]
        group = groups.setdefault(name, {"name": name, "details": _details(answer.subject), "answers": []})
        group["answers"].append((answer, table(answer.evidence, answer.conditions, of_one=True)))
    return [Section("Scoreboard", "scoreboard.html", {"groups": list(groups.values())})]


def training_section(findings: Findings) -> list[Section]:
    """How each training went."""
    figures = [
        (title_of(training), str(training.run.get("command", "")), drawn(figure, f"training-{index}"))
        for index, training in enumerate(findings.trainings)
        if (figure := training_figure(training.history)).panels
    ]
    return [Section("Training", "training.html", {"figures": figures})] if figures else []


def probe_sections(findings: Findings) -> list[Section]:
    """Figures and table of every probe, controls beside the model."""
    by_probe: dict[str, list[Record]] = {}
    for record in findings.records:
        by_probe.setdefault(record.probe, []).append(record)
    return [
        Section(f"Probe: {probe}", "probe.html", {**_probe(records, index), "pictures": _pictures(findings, probe)})
        for index, (probe, records) in enumerate(by_probe.items())
    ]


def published_section(findings: Findings) -> list[Section]:
    """Printed tables with what was measured beside every number, a section a paper."""
    by_paper: dict[str, list[dict[str, Any]]] = {}
    for beside in tables_beside(findings.records):
        by_paper.setdefault(beside.printed.paper, []).append(table_for_page(beside))
    return [
        Section(f"Published: {TITLES[paper]}", "published.html", {"tables": tables})
        for paper, tables in by_paper.items()
    ]


def claims_section(findings: Findings) -> list[Section]:
    """One row a claim of the papers whose tables were measured."""
    judgements = judge(findings.records, papers_of(findings.records))
    return [Section("Claims of the papers", "claims.html", claims_for_page(judgements))] if judgements else []


def notes_section(findings: Findings) -> list[Section]:
    """What is not comparable, and why."""
    found = notes(findings)
    return [Section("What is not comparable, and why", "notes.html", {"notes": found})] if found else []


def provenance_section(findings: Findings) -> list[Section]:
    """How every number was made."""
    runs = [provenance(run) for run in findings.runs]
    return [Section("How it was made", "provenance.html", {"runs": runs})]


SECTIONS: tuple[Callable[[Findings], Sequence[Section]], ...] = (
    scoreboard_section,
    training_section,
    published_section,
    probe_sections,
    claims_section,
    notes_section,
    provenance_section,
)
"""The page from top to bottom."""


def drawn(figure: Figure, name: str) -> dict[str, Any]:
    """Return ``figure`` for a template: a caption and its panels, each a title and markup."""
    panels = [(panel.title, Markup(svg(panel, f"{name}-{index}"))) for index, panel in enumerate(figure.panels)]
    return {"caption": figure.caption, "panels": panels}


def table(found: Sequence[Measurement], conditions: Sequence[str], of_one: bool = False) -> dict[str, Any]:
    """Return measurements as a table: a column for each word that differs, then one a condition."""
    columns = [column for column in _WORD_COLUMNS if not of_one or column in _OF_ONE]
    words = [{column: _WORD_COLUMNS[column](each) for column in columns} for each in found]
    shown = [column for column in columns if len({row[column] for row in words}) > 1] or columns[:1]
    rows = [
        TableRow(
            tuple(row[column] for column in shown),
            tuple(each.by_condition.get(condition) for condition in conditions),
            measure(each.quantity.metric),
        )
        for row, each in zip(words, found, strict=True)
    ]
    metrics = {row["measured"] for row in words}
    return {
        "caption": "" if "measured" in shown else ", ".join(metrics),
        "columns": shown,
        "conditions": [(name, condition_title(name)) for name in conditions],
        "rows": rows[:MAX_ROWS],
        "left_out": max(0, len(rows) - MAX_ROWS),
        "is_long": len(rows) > LONG_TABLE,
    }


_WORD_COLUMNS: dict[str, Callable[[Measurement], str]] = {
    "measured": lambda each: measure(each.quantity.metric).axis_title,
    "model": lambda each: each.subject.model,
    "size": lambda each: each.subject.size,
    "weights": lambda each: each.subject.weights,
    "data": lambda each: each.subject.dataset,
    "prober": lambda each: each.subject.prober,
    "label": lambda each: each.quantity.label,
    "parameter": lambda each: each.quantity.parameter,
    "stream": lambda each: place_name(Place(each.place.stage, each.place.query, each.place.key, None, None)),
    "layer": lambda each: "" if each.place.layer is None else str(each.place.layer),
    "head": lambda each: "" if each.place.head is None else str(each.place.head),
    "seed": lambda each: str(each.subject.seed),
    "prober seed": lambda each: "" if each.prober_seed is None else str(each.prober_seed),
}
_OF_ONE = ("measured", "label", "parameter", "stream", "layer", "head")


def _details(subject: Subject) -> str:
    """Return what a short name leaves out."""
    weights = "random weights" if subject.weights == "random" else f"weights {subject.weights}"
    return f"{subject.size}, {weights}, on {subject.dataset}, seed {subject.seed}"


def _probe(records: Sequence[Record], index: int) -> dict[str, Any]:
    found = measurements(records)
    seeds = of_prober_seeds(records)
    return {
        "figures": [drawn(figure, f"probe-{index}-{place}") for place, figure in enumerate(result_figures(records))],
        "table": table(found, conditions_of(found)),
        "seeds": table(seeds, conditions_of(seeds)) if seeds else None,
    }


def _pictures(findings: Findings, probe: str) -> list[dict[str, str]]:
    """Return the pictures that cells of ``probe`` drew themselves, beyond what `write_figures` draws from rows.

    Cells may come from anybody: what is no picture of theirs is left out with a warning.
    """
    pictures = []
    for cell in findings.cells:
        if any(record.probe == probe for record in cell.records):
            ours = {figure.name for figure in result_figures(cell.records)}
            for file in sorted((cell.path / FIGURES_FOLDER).glob("*.png")):
                if file.stem in ours:
                    continue
                try:
                    pictures.append(_picture(file, cell.path.name))
                except (OSError, ValueError) as error:
                    log.warning("not in the report: %s", printable(str(error)))
    return pictures


def _picture(file: Path, cell: str) -> dict[str, str]:
    data = base64.b64encode(_png(file)).decode()
    return {"source": f"data:image/png;base64,{data}", "caption": printable(f"{file.stem} (cell {cell})")}


def _png(file: Path) -> bytes:
    """Return the bytes of a picture of a cell.

    The cell's folder may be a link, and its folder of figures one to that of another cell; the file may not lead out.

    Raises:
        ValueError: naming the file, if it is a link out of its cell, no regular file, too large or no PNG.
        OSError: if it cannot be read.
    """
    home, real = file.parent.resolve().parent, Path(os.path.realpath(file))
    if not (home / RESULTS_FILE).is_file() or not real.is_relative_to(home):
        found = "a link out of its cell"
    elif not real.is_file():
        found = "a folder" if real.is_dir() else "no regular file"
    else:
        with real.open("rb") as opened:
            content = opened.read(MAX_PICTURE * 2**20 + 1)
        if len(content) > MAX_PICTURE * 2**20:
            found = "a larger one"
        elif content.startswith(PNG_START):
            return content
        else:
            found = f"a file that begins with {content[: len(PNG_START)]!r}"
    raise ValueError(f"{file}: found {found}, expected a PNG file of at most {MAX_PICTURE} MiB")


def _unbroken(text: str) -> str:
    """Keep both ends of an interval on one line."""
    return re.sub(r"\[(\S+), (\S+)\]", "[\\1,\u00a0\\2]", text)


def _source(name: str) -> Markup:
    """Return a file of ours that goes into the page as it is."""
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("vlp.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["verdicts"] = VERDICTS
    environment.filters["unbroken"] = _unbroken
    return environment
