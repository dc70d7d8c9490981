"""Setting measurements beside their controls, and saying whether their intervals overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import NamedTuple, TypeVar

from vlp.results import Record, Subject

Value = TypeVar("Value")

MODEL = "model"
"""The condition that is the measurement itself; every other is a control, or a condition of the probe's own."""

EXACT = frozenset({"chance", "majority", "uniform"})
"""Controls known without sampling: where they have no interval, they are a point."""

CONDITION_TITLES = {
    "model": "This model",
    "random_weights": "Random weights",
    "mismatched": "Mismatched pairs",
    "shuffled": "Shuffled",
    "chance": "Chance",
    "majority": "Majority",
    "uniform": "Uniform",
    "control_task": "Control task",
    "visual_features": "Raw visual features",
    "phrase_only": "Phrase only",
    "region_only": "Region only",
    "text_only": "Text only",
}
"""Words of the column ``condition`` in the order they are shown; a probe's own follow as they come."""


class Standing(Enum):
    """Where a value stands to a reference, by their intervals."""

    ABOVE = "above"
    BELOW = "below"
    OVERLAP = "overlap"
    UNKNOWN = "unknown"

    @property
    def is_apart(self) -> bool:
        """Whether the intervals have no point in common."""
        return self in (Standing.ABOVE, Standing.BELOW)

    @property
    def words(self) -> str:
        """Return the standing as the end of a sentence."""
        if self is Standing.UNKNOWN:
            return "no intervals to judge by"
        return "intervals do not overlap" if self.is_apart else "intervals overlap"


class Quantity(NamedTuple):
    """What was measured: one number a place and condition."""

    metric: str
    label: str
    parameter: str


class Place(NamedTuple):
    """Where in the model; layers and heads count from 1, None where the measurement has none."""

    stage: str
    query: str
    key: str
    layer: int | None
    head: int | None


_TELLING = ("size", "weights", "dataset", "prober", "seed")

NOWHERE = Place("", "", "", None, None)


@dataclass(frozen=True)
class Measurement:
    """One quantity at one place, under every condition it was taken in; ``prober_seed`` is None for their mean."""

    subject: Subject
    quantity: Quantity
    place: Place
    by_condition: Mapping[str, Record]
    prober_seed: int | None = None

    @property
    def model(self) -> Record | None:
        """Return the measurement itself, None where a probe has only conditions of its own."""
        return self.by_condition.get(MODEL)

    def standing(self, control: str) -> Standing | None:
        """Return where the model stands to ``control``; None where one of the two was not measured."""
        other = self.by_condition.get(control)
        return None if self.model is None or other is None else stand(self.model, other)


def stand(value: Record, reference: Record) -> Standing:
    """Return where ``value`` stands to ``reference``. Intervals that touch overlap."""
    ours, theirs = bounds(value), bounds(reference)
    if ours is None or theirs is None:
        return Standing.UNKNOWN
    if ours[0] > theirs[1]:
        return Standing.ABOVE
    return Standing.BELOW if ours[1] < theirs[0] else Standing.OVERLAP


def stand_to_zero(difference: Record) -> Standing:
    """Return where a paired difference stands to 0."""
    ours = bounds(difference)
    if ours is None:
        return Standing.UNKNOWN
    return Standing.ABOVE if ours[0] > 0 else Standing.BELOW if ours[1] < 0 else Standing.OVERLAP


def bounds(record: Record) -> tuple[float, float] | None:
    """Return the interval of ``record``, its value twice where it is exact, None where there is nothing to judge by."""
    if record.ci_low is not None and record.ci_high is not None:
        return record.ci_low, record.ci_high
    if record.condition in EXACT:
        return record.value, record.value
    return None


def subject_of(record: Record) -> Subject:
    """Return whose number ``record`` is."""
    return Subject(**{field.name: getattr(record, field.name) for field in fields(Subject)})


def measurements(records: Iterable[Record]) -> list[Measurement]:
    """Gather rows that differ by condition only, in order of first appearance.

    A control given for no place (``chance``) stands beside every place of its quantity. What single prober seeds found
    is left to the table: the mean over them is what is compared.
    """
    table: dict[tuple[Subject, Quantity], dict[Place, dict[str, Record]]] = {}
    for record in records:
        if record.prober_seed is not None:
            continue
        quantity = Quantity(record.metric, record.label, record.parameter)
        place = Place(record.stage, record.query, record.key, record.layer, record.head)
        places = table.setdefault((subject_of(record), quantity), {})
        places.setdefault(place, {}).setdefault(record.condition, record)
    return [
        Measurement(subject, quantity, place, _in_order(conditions))
        for (subject, quantity), places in table.items()
        for place, conditions in _with_lent_controls(places).items()
    ]


def of_prober_seeds(records: Iterable[Record]) -> list[Measurement]:
    """Gather what single prober seeds found, each seed for itself."""
    by_seed: dict[int, list[Record]] = {}
    for record in records:
        if record.prober_seed is not None:
            by_seed.setdefault(record.prober_seed, []).append(replace(record, prober_seed=None))
    return [replace(each, prober_seed=seed) for seed, found in sorted(by_seed.items()) for each in measurements(found)]


def conditions_of(found: Iterable[Measurement]) -> list[str]:
    """Return the conditions of ``found``, each once: the model first, then controls, then a probe's own."""
    return list(_in_order(dict.fromkeys(name for each in found for name in each.by_condition)))


def condition_title(condition: str) -> str:
    """Return ``condition`` as words."""
    return CONDITION_TITLES.get(condition) or condition.replace("_", " ").capitalize() or "(no condition)"


def short_names(subjects: Iterable[Subject]) -> dict[Subject, str]:
    """Name each subject by its model and by what tells it from others of that model, whatever the probe."""
    subjects = list(dict.fromkeys(subjects))
    names = {}
    for subject in subjects:
        namesakes = [other for other in subjects if other.model == subject.model]
        telling = [name for name in _TELLING if len({getattr(other, name) for other in namesakes}) > 1]
        names[subject] = " · ".join(filter(None, [subject.model, *(_worded(subject, name) for name in telling)]))
    return names


def place_name(place: Place) -> str:
    """Return ``place`` in words, empty for nowhere: ``cross, text to vision, layer 3, head 1``."""
    streams = f"{place.query} to {place.key}" if place.key and place.query != place.key else place.query
    streams = "" if streams == "joint" else streams
    layer = "embedding" if place.layer == 0 else f"layer {place.layer}" if place.layer is not None else ""
    head = f"head {place.head}" if place.head is not None else ""
    return ", ".join(dict.fromkeys(filter(None, [place.stage, streams, layer, head])))


def _worded(subject: Subject, name: str) -> str:
    value = getattr(subject, name)
    if value in (None, ""):
        return ""
    return f"{name.replace('_', ' ')} {value}" if name.endswith("seed") else str(value)


def _in_order(by_condition: Mapping[str, Value]) -> dict[str, Value]:
    known = [name for name in CONDITION_TITLES if name in by_condition]
    return {name: by_condition[name] for name in [*known, *(name for name in by_condition if name not in known)]}


def _with_lent_controls(places: Mapping[Place, Mapping[str, Record]]) -> dict[Place, dict[str, Record]]:
    """Give controls that stand at no place to every place, unless they are a measurement of their own."""
    lent = places.get(NOWHERE, {})
    if len(places) == 1 or MODEL in lent:
        return {place: dict(conditions) for place, conditions in places.items()}
    return {place: {**lent, **conditions} for place, conditions in places.items() if place != NOWHERE}


def layers_in_words(layers: Iterable[int]) -> str:
    """Return layer numbers as ranges: ``layers 1-4 and 6``; the embedding output is named."""
    numbers = sorted(set(layers))
    runs = list(_runs([number for number in numbers if number > 0]))
    words = [f"{first}" if first == last else f"{first}\u2013{last}" for first, last in runs]
    plural = "layer" if len(runs) == 1 and runs[0][0] == runs[0][1] else "layers"
    named = ([f"{plural} {_listed(words)}"] if words else []) + (["the embedding output"] if 0 in numbers else [])
    return " and ".join(named)


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            yield numbers[start], numbers[index - 1]
            start = index


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
