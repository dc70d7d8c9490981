"""Saying in one line what measurements show beside their main control, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlp.report.comparing import (
    EXACT,
    Measurement,
    Standing,
    condition_title,
    layers_in_words,
    place_name,
)
from vlp.report.measures import Measure, measure
from vlp.results import Record

MAIN_CONTROL = "random_weights"
"""The control that a line compares with first: the same architecture, untrained."""

VERDICTS = {
    "yes": "yes",
    "partly": "in part",
    "no": "no",
    "open": "not shown",
    "differs": "differs",
    "measured": "measured",
}
"""Verdicts and how they are shown; ``open``: intervals overlap, ``measured``: there was nothing to judge by."""


@dataclass(frozen=True)
class Finding:
    """What was found: one line, and a verdict, a key of `VERDICTS`."""

    text: str
    verdict: str

    @classmethod
    def judged(cls, text: str, standings: Sequence[Standing], expected: Standing | None) -> Finding:
        """Return the finding whose verdict follows from where the values stand.

        Yes where all are apart from their reference as expected (differs, with nothing expected), in part where some
        are, no where some are apart the other way and none as expected, open where intervals overlap.
        """
        known = [standing for standing in standings if standing is not Standing.UNKNOWN]
        good = [standing for standing in known if standing.is_apart and expected in (None, standing)]
        if not known:
            return cls(text, "measured")
        if good:
            return cls(text, "partly" if len(good) < len(standings) else "yes" if expected else "differs")
        return cls(text, "no" if any(standing.is_apart for standing in known) else "open")


def describe(found: Sequence[Measurement], expected: Standing | None, of_what: str = "") -> Finding:
    """Put one quantity into a line: a number, a number a layer, or a number a head.

    Args:
        found: the quantity of one subject and stream, at one place or at many.
        expected: where the model should stand to its controls; None where neither side is better.
        of_what: words after the number, such as ``of pairs classified correctly``.
    """
    measured = sorted((each for each in found if each.model is not None), key=lambda each: each.place.layer or 0)
    if not measured:
        return Finding(_each_condition(found), "measured")
    if any(each.place.head is not None for each in measured):
        return Finding(_strongest_head(measured), "measured")
    if len(measured) == 1:
        return _single(measured[0], expected, of_what)
    return _layer_by_layer(measured, expected)


def expected_standing(shown: Measure) -> Standing | None:
    """Return on which side of its controls a model should be."""
    if shown.higher_is_better is None:
        return None
    return Standing.ABOVE if shown.higher_is_better else Standing.BELOW


def with_interval(record: Record) -> str:
    """Return the value of ``record`` with unit and interval, as a sentence has it."""
    shown = measure(record.metric)
    return " ".join(filter(None, [shown.value(record.value), shown.interval(record.ci_low, record.ci_high)]))


def control_of(found: Measurement) -> str | None:
    """Return the control that ``found`` is compared with: random weights, else a trivial baseline, else another."""
    others = [name for name in found.by_condition if name != "model"]
    preferred = [MAIN_CONTROL, *sorted(EXACT)]
    return next((name for name in [*preferred, *others] if name in others), None)


def _single(found: Measurement, expected: Standing | None, of_what: str) -> Finding:
    """Compare one number with its main control and, for the verdict, with every trivial baseline."""
    text = " ".join(filter(None, [model_value(found), of_what]))
    control = control_of(found)
    if control is None or is_untrained(found):
        return Finding(f"{text}{as_control(found)}.", "measured")
    judges = [name for name in found.by_condition if name == control or name in EXACT]
    standings = [standing for name in judges if (standing := found.standing(name)) is not None]
    words = [standing.words for standing in standings]
    compared = [f"{with_interval(found.by_condition[name])} {under(name)}" for name in judges]
    if len(set(words)) == 1:
        return Finding.judged(f"{text}, against {' and '.join(compared)}; {words[0]}.", standings, expected)
    each = " and ".join(f"{control} ({word})" for control, word in zip(compared, words, strict=True))
    return Finding.judged(f"{text}, against {each}.", standings, expected)


def _layer_by_layer(found: Sequence[Measurement], expected: Standing | None) -> Finding:
    """Compare every layer with its main control; the embedding output is told but not judged."""
    title, last = measure(found[0].quantity.metric).title, found[-1]
    control = control_of(last)
    if control is None or is_untrained(last):
        return Finding(f"{title} {_span(found)}{as_control(last)}.", "measured")
    standings = {each.place.layer or 0: each.standing(control) for each in found}
    clauses = _clauses(standings, control)
    where = layers_in_words([last.place.layer or 0])
    others = {name: record for name, record in last.by_condition.items() if name != "model"}
    beside = ", ".join(f"{with_interval(record)} {under(name)}" for name, record in others.items())
    start = f"{title} is {' and '.join(clauses)}" if clauses else f"{title} {_span(found)}, no intervals to judge by"
    judged = [standing for layer, standing in standings.items() if layer > 0 and standing is not None]
    text = f"{start}; in {where} it is {model_value(last)}, {beside}."
    return Finding.judged(text, judged, expected)


def _clauses(standings: Mapping[int, Standing | None], control: str) -> list[str]:
    """Return in which layers a curve stands below, above and within reach of its control."""
    sides = {
        Standing.BELOW: f"lower than {under(control)}",
        Standing.ABOVE: f"higher than {under(control)}",
        Standing.OVERLAP: f"not told from {condition_title(control).lower()}",
    }
    return [
        f"{words} in {layers_in_words(layers)} ({side.words})"
        for side, words in sides.items()
        if (layers := [layer for layer, standing in standings.items() if standing is side])
    ]


def _strongest_head(found: Sequence[Measurement]) -> str:
    best = max(found, key=lambda each: each.model.value if each.model else float("-inf"))
    text = f"Largest of {len(found)} heads: {model_value(best)} in {place_name(best.place)}"
    control = best.by_condition.get(MAIN_CONTROL)
    beside = f"; the same head {with_interval(control)} with random weights" if control is not None else ""
    return f"{text}{beside}. The largest of many is too large: it was picked on the data that it is reported on."


def _each_condition(found: Sequence[Measurement]) -> str:
    first = found[0]
    parts = [f"{condition_title(name)} {with_interval(record)}" for name, record in first.by_condition.items()]
    place = place_name(first.place)
    return f"{'; '.join(parts)}{f' ({place}, first of {len(found)})' if len(found) > 1 else ''}."


def _span(found: Sequence[Measurement]) -> str:
    ends = [f"{model_value(each)} in {layers_in_words([each.place.layer or 0])}" for each in (found[0], found[-1])]
    return f"goes from {ends[0]} to {ends[1]}"


def model_value(found: Measurement) -> str:
    """Return the model's own value as a sentence has it."""
    return with_interval(found.model) if found.model is not None else "nothing"


def under(control: str) -> str:
    """Return a control as a sentence continues after a number."""
    title = condition_title(control).lower()
    return _UNDER.get(control, f"by {title}" if control in EXACT else f"with {title}")


_UNDER = {
    "majority": "by the majority class",
    "shuffled": "when shuffled",
    "control_task": "on the control task",
    "phrase_only": "from the phrase alone",
    "region_only": "from the region alone",
    "visual_features": "from the raw visual features",
}


def is_untrained(found: Measurement) -> bool:
    """Whether ``found`` is of random weights, which are a control themselves."""
    return found.subject.weights == "random"


def as_control(found: Measurement) -> str:
    """Return the end of a sentence about random weights, empty for others."""
    return "; the weights are random, so this is a control itself" if is_untrained(found) else ""
