"""The scoreboard: what was asked, the answer in one line, with interval and controls.

A question that a probe was made for has its own words in `vlp.report.questions`; what any other probe measured is
worded by `vlp.report.wording` alone, so that a new probe needs nothing there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vlp.report.comparing import (
    CONDITION_TITLES,
    EXACT,
    MODEL,
    Measurement,
    conditions_of,
    measurements,
    place_name,
    subject_of,
)
from vlp.report.measures import measure
from vlp.report.probers import MISMATCHED, RAW
from vlp.report.questions import QUESTIONS
from vlp.report.wording import MAIN_CONTROL, Finding, describe, expected_standing
from vlp.results import Record, Subject

_LINKS = ("chance", "majority", MAIN_CONTROL, "phrase_only", "region_only")
_RELATIONS = ("chance", "majority", MAIN_CONTROL, MISMATCHED, RAW)

REQUIRED_CONTROLS = {
    ("nmi", "nmi"): (MAIN_CONTROL, "shuffled"),
    ("vcd", "accuracy"): _LINKS,
    ("vcc", "accuracy"): _LINKS,
    ("vri", "accuracy"): _RELATIONS,
    ("vrc", "accuracy"): _RELATIONS,
}
"""Controls without which a probe's metric is incomplete; random weights alone for one that is not listed.

Of what has a label, a row a class, random weights are enough.
"""

DIFFERENCES = frozenset({"accuracy_gain", "p_value", "selectivity"})
"""Metrics that hold their control in them."""

OF_INPUTS = frozenset({"tokens", "multiply_accumulates", "parameters"})
"""Metrics of what a model reads and of its size, which no weights change."""

MAX_QUANTITIES = 4
"""Quantities of one metric that are answered one by one; of more (a row a class), only those without a label."""


@dataclass(frozen=True)
class Answer:
    """One line of the scoreboard: what was asked of whom, what was found, on what evidence, lacking which controls.

    ``explanation`` says how a number has to be read that is easily read wrongly; empty where none is needed.
    """

    subject: Subject
    question: str
    finding: Finding
    evidence: tuple[Measurement, ...]
    missing: tuple[str, ...]
    explanation: str = ""

    @property
    def conditions(self) -> list[str]:
        """Return the conditions of the evidence, the model's first."""
        return conditions_of(self.evidence)


def unanswered(records: Sequence[Record], answers: Iterable[Answer]) -> list[Subject]:
    """Return the subjects of ``records`` that no answer is about."""
    told = {each.subject for answer in answers for each in answer.evidence}
    return [subject for subject in dict.fromkeys(map(subject_of, records)) if subject not in told]


def whose(answer: Answer) -> Subject:
    """Return whom an answer stands under: the model, whatever the probe and prober."""
    return replace(answer.subject, probe="", prober="")


def scoreboard(records: Iterable[Record]) -> list[Answer]:
    """Answer every question that ``records`` bear on, subject by subject, questions with words of their own first."""
    by_subject: dict[tuple[str, ...], list[Measurement]] = {}
    for found in measurements(records):
        by_subject.setdefault(_without_probe(found.subject), []).append(found)
    return [answer for found in by_subject.values() for answer in [*_worded_answers(found), *_plain_answers(found)]]


def _worded_answers(found: Sequence[Measurement]) -> list[Answer]:
    answers = []
    for question in QUESTIONS:
        for group in _groups([each for each in found if question.fits(each)], by_quantity=False):
            finding = question.answer(group)
            if finding is not None:
                answers.append(replace(_answer(question.words, finding, group), explanation=question.explain(group)))
    return answers


def _plain_answers(found: Sequence[Measurement]) -> list[Answer]:
    rest = [each for each in found if not any(question.fits(each) for question in QUESTIONS)]
    unanswered = [
        each
        for question in QUESTIONS
        for group in _groups([each for each in found if question.fits(each)], by_quantity=False)
        if question.answer(group) is None
        for each in group
    ]
    return [
        _answer(_plain_question(group[0]), describe(group, expected_standing(measure(group[0].quantity.metric))), group)
        for group in _groups(_worth_a_line([*unanswered, *rest]), by_quantity=True)
    ]


def _answer(question: str, finding: Finding, group: Sequence[Measurement]) -> Answer:
    stream = place_name(group[0].place._replace(layer=None, head=None))
    prober = f"{group[0].subject.prober} prober" if group[0].subject.prober else ""
    details = ", ".join(part for part in (prober, stream) if part not in ("", "joint"))
    asked = f"{question} ({details})" if details else question
    return Answer(group[0].subject, asked, finding, tuple(group), missing_controls(group))


def missing_controls(found: Sequence[Measurement]) -> tuple[str, ...]:
    """Return the controls that ``found`` should have and has not; ``model`` where there are controls alone.

    A probe whose conditions are all its own needs none. Random weights are a control: they need the others.
    """
    has_model = any(each.model is not None for each in found)
    if not has_model and any(name not in CONDITION_TITLES for each in found for name in each.by_condition):
        return ()
    is_raw = not has_model and all(each.subject.prober == RAW for each in found)
    met = (
        {MAIN_CONTROL} if found[0].subject.weights == "random" else {MAIN_CONTROL, MISMATCHED, RAW} if is_raw else set()
    )
    required = [name for each in found for name in _required(each, found) if name not in each.by_condition]
    return tuple(
        dict.fromkeys([*([] if has_model or is_raw else [MODEL]), *(name for name in required if name not in met)])
    )


def _required(found: Measurement, group: Sequence[Measurement]) -> tuple[str, ...]:
    """Return the controls that ``found`` needs: those of the accuracy where a listed probe has other numbers alone."""
    quantity, probe = found.quantity, found.subject.probe
    if quantity.metric in OF_INPUTS:
        return ()
    if quantity.label:
        return (MAIN_CONTROL,)
    listed = REQUIRED_CONTROLS.get((probe, quantity.metric))
    if listed is None and not any(each.quantity.metric == "accuracy" for each in group):
        listed = REQUIRED_CONTROLS.get((probe, "accuracy"))
    return listed or (() if quantity.metric in DIFFERENCES else (MAIN_CONTROL,))


def _plain_question(found: Measurement) -> str:
    quantity = found.quantity
    details = ", ".join(filter(None, [quantity.label.replace("_", " "), quantity.parameter]))
    asked = f"{found.subject.probe}: {measure(quantity.metric).title}"
    return f"{asked}, {details}" if details else asked


def _groups(found: Iterable[Measurement], by_quantity: bool) -> list[list[Measurement]]:
    """Gather what one line answers: one subject and stream, whatever the layer and head, and maybe one quantity."""
    groups: dict[tuple[object, ...], list[Measurement]] = {}
    for each in found:
        quantity = each.quantity if by_quantity else None
        key = (each.subject, quantity, each.place._replace(layer=None, head=None))
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _worth_a_line(found: Sequence[Measurement]) -> list[Measurement]:
    """Leave to the tables labelled quantities of a metric that has many, a prober's, and baselines without a number."""
    kinds: dict[tuple[Subject, str], set[object]] = {}
    for each in found:
        kinds.setdefault((each.subject, each.quantity.metric), set()).add(each.quantity)
    few = {key for key, quantities in kinds.items() if len(quantities) <= MAX_QUANTITIES}
    plain = [each for each in found if not each.quantity.label and not each.quantity.parameter]
    told = [each for each in found if (each.subject, each.quantity.metric) in few or each in plain]
    asked = [each for each in told if not (each.subject.prober and each.quantity.label)]
    return [each for each in asked if not EXACT.issuperset(each.by_condition)]


def _without_probe(subject: Subject) -> tuple[str, ...]:
    names = ("model", "size", "weights", "dataset", "seed")
    return tuple(str(getattr(subject, name)) for name in names)
