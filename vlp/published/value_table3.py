"""VALUE, table 3: visual coreference detection and classification, by attention and by embedding probers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vlp.published.artefacts import Artefact, Query, Setup
from vlp.published.beside import Measured, look_up
from vlp.published.verdicts import Part, Verdict, at_least, at_most
from vlp.results import Record

FAR = 0.10
"""How much above the majority class is far above it. The paper prints 75.10 where the majority has 40 to 46."""

LITTLE = 0.10
"""How much above one half is only a little. The largest that the paper prints is 59.12."""

HALF = 0.5
"""Accuracy of guessing whether a phrase and a region are linked: one pair in two is."""

SINGLE, TWO = "(SS)", "(TS)"


OWN_CONTROLS = {"phrase_only": "phrase alone", "region_only": "region alone"}
"""What tells the type without the model, or the other way round: controls of the probe's own."""


def recovers_type_hardly_existence(artefact: Artefact, records: Sequence[Record]) -> list[list[Part]]:
    """Test claim V6 on every printed number of a prober: types far above the majority class, links near one half.

    A side is a probe and model. What random weights reach as well says nothing of a model, nor does a type that the
    phrase or the region alone tells as well: they decide nothing.
    """
    return [
        [
            _part(artefact, records, row, f"{probe} {stream}", judge)
            for row, query in artefact.rows.items()
            if query.columns.get("condition") == "model" and artefact.query(row, f"{probe} {stream}") is not None
        ]
        for probe, judge in (("VCC", _judge_type), ("VCD", _judge_link))
        for stream in (SINGLE, TWO)
    ]


Judge = Callable[[Measured, Query, Sequence[Record]], tuple[str, Verdict, str]]
"""Takes our number and where it was looked up; returns what stands beside it, the verdict, and why."""


def _part(artefact: Artefact, records: Sequence[Record], row: str, column: str, judge: Judge) -> Part:
    query = artefact.query(row, column)
    ours = None if query is None else look_up(query, records)
    if query is None or ours is None:
        return Part.unmeasured(f"{column}, {row}")
    beside, verdict, reason = judge(ours, query, records)
    return Part(f"{column}, {row}", f"{_shown(ours)}; {beside}", verdict, reason)


def _judge_type(ours: Measured, query: Query, records: Sequence[Record]) -> tuple[str, Verdict, str]:
    titles = {"majority": "majority", "random_weights": "random weights", **OWN_CONTROLS}
    controls = {name: _control(query, name, records) for name in titles}
    beside = ", ".join(f"{title} {_shown(controls[name])}" for name, title in titles.items())
    return (beside, *_far_above(ours, controls, {name: _gain(query, name, records) for name in OWN_CONTROLS}))


def _far_above(
    ours: Measured, controls: Mapping[str, Measured | None], gains: Mapping[str, Measured | None]
) -> tuple[Verdict, str]:
    majority, untrained = controls["majority"], controls["random_weights"]
    if majority is None or untrained is None or ours.low is None or ours.high is None or untrained.high is None:
        return Verdict.NOT_TESTABLE, "no interval, or no majority or random weights beside it"
    bound = majority.value + FAR
    if bound > 1:
        return Verdict.NOT_TESTABLE, "the majority class leaves no room"
    verdict = at_least(ours.low, ours.high, bound)
    if verdict is Verdict.AGREES and untrained.high >= ours.low:
        return Verdict.NOT_TESTABLE, "far above the majority class, but random weights are as well"
    telling = [title for name, title in OWN_CONTROLS.items() if not _is_above(ours, controls[name], gains[name])]
    if verdict is Verdict.AGREES and telling:
        named = " and ".join(f"the {title}" for title in telling)
        return Verdict.NOT_TESTABLE, f"far above the majority class, but not shown to tell more than {named}"
    return verdict, f"{_FAR_WORDS[verdict]} {bound:.1%}, the majority class and {FAR * 100:.0f} points"


def _is_above(ours: Measured, control: Measured | None, gain: Measured | None) -> bool:
    """Whether ours is above ``control``: by the paired difference where there is one, else by their intervals."""
    if gain is not None and gain.low is not None:
        return gain.low > 0
    return control is not None and control.high is not None and ours.low is not None and control.high < ours.low


def _judge_link(ours: Measured, query: Query, records: Sequence[Record]) -> tuple[str, Verdict, str]:
    untrained = _control(query, "random_weights", records)
    return (f"random weights {_shown(untrained)}", *_near_half(ours, untrained))


def _near_half(ours: Measured, untrained: Measured | None) -> tuple[Verdict, str]:
    if untrained is None or ours.low is None or ours.high is None or untrained.low is None:
        return Verdict.NOT_TESTABLE, "no interval, or no random weights beside it"
    bound = HALF + LITTLE
    verdict = at_most(ours.low, ours.high, bound)
    if verdict is Verdict.DISAGREES and untrained.low > bound:
        return Verdict.NOT_TESTABLE, f"above {bound:.0%}, but so are random weights: the inputs alone tell the link"
    return verdict, f"{_LITTLE_WORDS[verdict]} {bound:.0%}"


_FAR_WORDS = {Verdict.AGREES: "above", Verdict.DISAGREES: "below", Verdict.NOT_TESTABLE: "the interval holds"}
_LITTLE_WORDS = {Verdict.AGREES: "not above", Verdict.DISAGREES: "above", Verdict.NOT_TESTABLE: "the interval holds"}


def _control(query: Query, condition: str, records: Sequence[Record]) -> Measured | None:
    """Return a control at the place of ``query``, or the one that stands for all places."""
    at_place = look_up(query.under(condition), records)
    return at_place or look_up(Query({**query.columns, "condition": condition}), records)


def _gain(query: Query, control: str, records: Sequence[Record]) -> Measured | None:
    """Return the paired difference to a control at the place of ``query``."""
    return look_up(query | Query({"metric": "accuracy_gain", "parameter": f"over={control}"}), records)


def _shown(found: Measured | None) -> str:
    if found is None:
        return "not measured"
    ends = "" if found.low is None or found.high is None else f" [{found.low * 100:.1f}, {found.high * 100:.1f}]"
    return f"{found.value:.1%}{ends}"


TABLE3 = Artefact(
    name="value/table3",
    experiment="value/table3",
    setup=Setup("flickr30k_entities", "Flickr30k Entities", "the released UNITER-base and LXMERT-base"),
    common=Query({"metric": "accuracy", "label": "", "parameter": "", "head": None}),
    rows={
        "144 Attention Heads": Query({"prober": "attention", "condition": "model"}),
        "Random Guess": Query({"prober": "attention", "condition": "chance"}),
        "Layer 1": Query({"prober": "embedding", "condition": "model"}, layer=1),
        "Layer 5": Query({"prober": "embedding", "condition": "model"}, layer=5),
        "Layer 12": Query({"prober": "embedding", "condition": "model"}, layer=12),
    },
    columns={
        "VCD (SS)": Query({"probe": "vcd", "model": "uniter"}, depth=12),
        "VCD (TS)": Query({"probe": "vcd", "model": "lxmert"}, depth=5),
        "VCC (SS)": Query({"probe": "vcc", "model": "uniter"}, depth=12),
        "VCC (TS)": Query({"probe": "vcc", "model": "lxmert"}, depth=5),
    },
    remarks=(
        "Heads: the printed row head holds for the single-stream model; attention probers read as many heads as the "
        "model has (single-stream: all; two-stream: those of the cross layers, in both directions).",
        "Pairs: the paper does not say how it draws unlinked pairs; here they are the phrase and a gold region of "
        "another entity of the same caption.",
        "Guessing: the printed 12.50 takes eight equally frequent types; ours is one over the types there are, and the "
        "majority class, which the paper leaves out, stands in the probe's own table.",
    ),
    claims={"V6": recovers_type_hardly_existence},
)
