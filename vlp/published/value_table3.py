"""VALUE, table 3: visual coreference detection and classification, by attention and by embedding probers."""

from __future__ import annotations

from collections.abc import Sequence

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


def recovers_type_hardly_existence(artefact: Artefact, records: Sequence[Record]) -> list[list[Part]]:
    """Test claim V6 on every printed number of a prober: types far above the majority class, links near one half.

    What random weights reach as well says nothing of a model, and decides nothing.
    """
    rows = [row for row, query in artefact.rows.items() if query.columns.get("condition") == "model"]
    places = [(row, stream) for stream in (SINGLE, TWO) for row in rows]
    return [
        [part for row, stream in places if (part := _type_part(artefact, records, row, f"VCC {stream}"))],
        [part for row, stream in places if (part := _link_part(artefact, records, row, f"VCD {stream}"))],
    ]


def _type_part(artefact: Artefact, records: Sequence[Record], row: str, column: str) -> Part | None:
    query = artefact.query(row, column)
    ours = None if query is None else look_up(query, records)
    if query is None or ours is None:
        return None
    majority, untrained = (_control(query, name, records) for name in ("majority", "random_weights"))
    found = f"{_shown(ours)}; majority {_shown(majority)}, random weights {_shown(untrained)}"
    return Part(f"{column}, {row}", found, *_judge_type(ours, majority, untrained))


def _judge_type(ours: Measured, majority: Measured | None, untrained: Measured | None) -> tuple[Verdict, str]:
    if majority is None or untrained is None or ours.low is None or ours.high is None or untrained.high is None:
        return Verdict.NOT_TESTABLE, "no interval, or no majority or random weights beside it"
    bound = majority.value + FAR
    if bound > 1:
        return Verdict.NOT_TESTABLE, "the majority class leaves no room"
    verdict = at_least(ours.low, ours.high, bound)
    if verdict is Verdict.AGREES and untrained.high >= ours.low:
        return Verdict.NOT_TESTABLE, "far above the majority class, but random weights are as well"
    return verdict, f"{_FAR_WORDS[verdict]} {bound:.1%}, the majority class and {FAR * 100:.0f} points"


def _link_part(artefact: Artefact, records: Sequence[Record], row: str, column: str) -> Part | None:
    query = artefact.query(row, column)
    ours = None if query is None else look_up(query, records)
    if query is None or ours is None:
        return None
    untrained = _control(query, "random_weights", records)
    return Part(
        f"{column}, {row}", f"{_shown(ours)}; random weights {_shown(untrained)}", *_judge_link(ours, untrained)
    )


def _judge_link(ours: Measured, untrained: Measured | None) -> tuple[Verdict, str]:
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
