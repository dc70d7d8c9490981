"""The scoreboard: what was asked, the answer in one line, with interval and controls.

A question that a probe was made for has its own words in `QUESTIONS`; what any other probe measured is worded by
`vlp.report.wording` alone, so that a new probe needs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vlp.report.comparing import Measurement, Standing, conditions_of, measurements, place_name, stand_to_zero
from vlp.report.measures import measure
from vlp.report.wording import MAIN_CONTROL, Finding, describe, expected_standing, with_interval
from vlp.results import Record, Subject

REQUIRED_CONTROLS = {("nmi", "nmi"): (MAIN_CONTROL, "shuffled")}
"""Controls without which a probe's metric is incomplete; random weights alone for one that is not listed."""

MAX_QUANTITIES = 4
"""Quantities of one metric that are answered one by one; of more (a row a class), only those without a label."""


@dataclass(frozen=True)
class Answer:
    """One line of the scoreboard: what was asked of whom, what was found, on what evidence, lacking which controls."""

    subject: Subject
    question: str
    finding: Finding
    evidence: tuple[Measurement, ...]
    missing: tuple[str, ...]

    @property
    def conditions(self) -> list[str]:
        """Return the conditions of the evidence, the model's first."""
        return conditions_of(self.evidence)


@dataclass(frozen=True)
class Question:
    """What a probe was made to ask of one metric and label, and how its measurements answer it."""

    probe: str
    metric: str
    label: str
    words: str
    answer: Callable[[Sequence[Measurement]], Finding | None]

    def fits(self, found: Measurement) -> bool:
        """Whether ``found`` bears on the question."""
        asked = (found.subject.probe, found.quantity.metric, found.quantity.label)
        return asked == (self.probe, self.metric, self.label)


def scoreboard(records: Iterable[Record]) -> list[Answer]:
    """Answer every question that ``records`` bear on, subject by subject, questions with words of their own first."""
    by_subject: dict[tuple[str, ...], list[Measurement]] = {}
    for found in measurements(records):
        by_subject.setdefault(_without_probe(found.subject), []).append(found)
    return [answer for found in by_subject.values() for answer in [*_worded_answers(found), *_plain_answers(found)]]


def _worded_answers(found: Sequence[Measurement]) -> list[Answer]:
    answers = []
    for question in QUESTIONS:
        for group in _groups([each for each in found if question.fits(each)], by_parameter=False):
            finding = question.answer(group)
            if finding is not None:
                answers.append(_answer(question.words, finding, group))
    return answers


def _plain_answers(found: Sequence[Measurement]) -> list[Answer]:
    rest = [each for each in found if not any(question.fits(each) for question in QUESTIONS)]
    unanswered = [
        each
        for question in QUESTIONS
        for group in _groups([each for each in found if question.fits(each)], by_parameter=False)
        if question.answer(group) is None
        for each in group
    ]
    return [
        _answer(_plain_question(group[0]), describe(group, expected_standing(measure(group[0].quantity.metric))), group)
        for group in _groups(_worth_a_line([*unanswered, *rest]), by_parameter=True)
    ]


def _answer(question: str, finding: Finding, group: Sequence[Measurement]) -> Answer:
    stream = place_name(group[0].place._replace(layer=None, head=None))
    asked = f"{question} ({stream})" if stream not in ("", "joint") else question
    return Answer(group[0].subject, asked, finding, tuple(group), missing_controls(group))


def missing_controls(found: Sequence[Measurement]) -> tuple[str, ...]:
    """Return the controls that ``found`` should have and has not.

    None for random weights, which are a control, and for a probe whose conditions are all its own.
    """
    subject = found[0].subject
    if subject.weights == "random" or all(each.model is None for each in found):
        return ()
    required = REQUIRED_CONTROLS.get((subject.probe, found[0].quantity.metric), (MAIN_CONTROL,))
    return tuple(name for name in required if any(name not in each.by_condition for each in found))


def _tells_pairs(found: Sequence[Measurement]) -> Finding | None:
    """Answer from the accuracy on matched and swapped pairs."""
    if len(found) != 1 or found[0].model is None:
        return None
    return describe(found, Standing.ABOVE, "of pairs classified correctly")


def _uses_image(found: Sequence[Measurement]) -> Finding | None:
    """Answer from the paired difference of the masked-word loss with the mean image and with its own."""
    by_image = {each.quantity.parameter: each for each in found}
    wanted = [by_image.get(f"image={image}") for image in ("own", "mean", "mean-own")]
    rows = [each.model for each in wanted if each is not None and each.model is not None]
    if len(rows) != 3 or wanted[2] is None:
        return None
    own, mean, difference = rows
    text = (
        f"A masked word costs {with_interval(own)} with its own image and {with_interval(mean)} with the mean image: "
        f"{with_interval(difference)} more"
    )
    control = wanted[2].by_condition.get(MAIN_CONTROL)
    if control is not None:
        text += f"; {with_interval(control)} with random weights"
    return Finding.judged(f"{text}.", [stand_to_zero(difference)], Standing.ABOVE)


def _mixes_modalities(found: Sequence[Measurement]) -> Finding | None:
    """Answer from the NMI of every layer."""
    return describe(found, Standing.BELOW) if any(each.model for each in found) else None


def _cluster_size(found: Sequence[Measurement]) -> Finding | None:
    """Answer from the smaller cluster's share of the tokens, without which a low NMI can be read wrongly."""
    return describe(found, None)


QUESTIONS = (
    Question("pretraining", "accuracy", "itm", "Does it tell matched from swapped pairs?", _tells_pairs),
    Question("pretraining", "bits", "masked_words", "Does it use the image to fill in masked words?", _uses_image),
    Question("nmi", "nmi", "", "Are text and vision mixed more than without training?", _mixes_modalities),
    Question("nmi", "share", "smaller_cluster", "How much of the tokens is in the smaller cluster?", _cluster_size),
)
"""Questions with words of their own, in the order of the scoreboard."""


def _plain_question(found: Measurement) -> str:
    quantity = found.quantity
    details = ", ".join(filter(None, [quantity.label.replace("_", " "), quantity.parameter]))
    asked = f"{found.subject.probe}: {measure(quantity.metric).title}"
    return f"{asked}, {details}" if details else asked


def _groups(found: Iterable[Measurement], by_parameter: bool) -> list[list[Measurement]]:
    """Gather what one line answers: one subject, metric, label and stream, whatever the layer and head."""
    groups: dict[tuple[object, ...], list[Measurement]] = {}
    for each in found:
        parameter = each.quantity.parameter if by_parameter else ""
        key = (each.subject, each.quantity._replace(parameter=parameter), each.place._replace(layer=None, head=None))
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _worth_a_line(found: Sequence[Measurement]) -> list[Measurement]:
    """Leave out labelled quantities of a metric that has many: they stand in the tables."""
    kinds: dict[tuple[Subject, str], set[object]] = {}
    for each in found:
        kinds.setdefault((each.subject, each.quantity.metric), set()).add(each.quantity)
    few = {key for key, quantities in kinds.items() if len(quantities) <= MAX_QUANTITIES}
    plain = [each for each in found if not each.quantity.label and not each.quantity.parameter]
    return [each for each in found if (each.subject, each.quantity.metric) in few or each in plain]


def _without_probe(subject: Subject) -> tuple[str, ...]:
    names = ("model", "size", "weights", "dataset", "seed")
    return tuple(str(getattr(subject, name)) for name in names)
