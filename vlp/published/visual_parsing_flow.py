"""VisualParsing: flow of five pre-trainings (table 5), hidden cells (figure 2), flow and NMI by layer (figures 3-5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vlp.published.artefacts import Artefact, Query, Setup, Test, Words
from vlp.published.beside import Measured, look_up, rows_for
from vlp.published.verdicts import Part, Verdict, at_least, at_most
from vlp.results import Record

TRANSITION = 0.70
"""Accuracy of matching below which a pre-training has not come to use its images, whatever else it shows."""

Pair = tuple[Measured | None, Measured | None]
"""What is to be above, and what below."""

DEPTH = 12
"""Layers of the models of figures 3 to 5."""

LAYERS = range(1, DEPTH + 1)

FLOW = "F_inter^{1,3}"
R50, R101 = "R50 MLM+ITM", "R101 MLM+ITM"
NO_MFR, RANDOM_MFR, MFR = (f"Swin-T MLM+ITM+{kind}" for kind in ("w/o MFR", "Rand MFR", "MFR"))
OURS, SOHO, UNITER, VILT = "Ours", "SOHO", "UNITER", "ViLT"

MODELS = {OURS: "swin_vlp", SOHO: "soho", UNITER: "uniter", VILT: "vilt"}
"""The curves of the figures and our model of each."""

CURVES = {curve: Query({"model": model, "row": ""}) for curve, model in MODELS.items()}

MATCHING = Query({"probe": "pretraining", "metric": "accuracy", "label": "itm", "condition": "model", "parameter": ""})


def parser_beats_cnn(artefact: Artefact, records: Sequence[Record]) -> list[list[Part]]:
    """Test claim P1 on the flow: Swin above each ResNet, all without hidden cells. VQA has no experiment yet."""
    return [_table_parts(artefact, records, NO_MFR, cnn) for cnn in (R50, R101)]


def attention_beats_random(artefact: Artefact, records: Sequence[Record]) -> list[list[Part]]:
    """Test claim P2 on the flow: cells hidden by attention above those hidden at random, and these above none."""
    return [_table_parts(artefact, records, *pair) for pair in ((MFR, RANDOM_MFR), (RANDOM_MFR, NO_MFR))]


def flow_orders_models(artefact: Artefact, records: Sequence[Record]) -> list[list[Part]]:
    """Test claim P3 at every layer, on the flow and on its ratio to that of uniform attention; a side is a pair."""
    pairs = ((OURS, SOHO), (OURS, UNITER), (SOHO, VILT), (UNITER, VILT))
    return [
        _at_all_layers(artefact, records, more, less, metric)
        for metric in ("flow", "flow_over_uniform")
        for more, less in pairs
    ]


def flow_rises_and_dips(artefact: Artefact, records: Sequence[Record]) -> list[list[Part]]:
    """Test claim P4 on every model: it rises up to the last layer but one, and the last is below the one before it.

    It rises if the last layer but one is above the first, and the mean of the later half above that of the earlier.
    """
    rises = [part for curve in MODELS for part in _rise(artefact, records, curve)]
    return [rises, [_dip(artefact, records, curve) for curve in MODELS]]


def backbones_lie_closer(artefact: Artefact, records: Sequence[Record]) -> list[list[Part]]:
    """Test claim P5: end-to-end backbones below UNITER at every layer, UNITER falls, ViLT above all on the whole."""
    below = [_at_all_layers(artefact, records, UNITER, curve, "nmi") for curve in (OURS, SOHO)]
    largest = [_overall(artefact, records, VILT, curve) for curve in (OURS, SOHO, UNITER)]
    first, last = (_columns(artefact)[place] for place in (0, -1))
    found = _pair(records, *(_query(artefact, UNITER, column) for column in (first, last)))
    falls = _compared(f"first layer above last, {UNITER}", found, _lacking(records, [UNITER]))
    return [*below, [falls], largest]


def before_transition(artefact: Artefact, row: str, column: str, records: Sequence[Record]) -> list[str]:
    """Return what the accuracy of matching says of a row of table 5: below `TRANSITION` its number says nothing."""
    if column != FLOW:
        return []
    matching = _matching(records, artefact.rows[row])
    if not matching or None in matching:
        return ["matching of held-out pairs was not measured"]
    found = [it for it in matching if it is not None]
    early = [it for it in found if it.value < TRANSITION]
    if not early:
        return [f"matching of held-out pairs {', '.join(map(_percent, found))}"]
    share = "" if len(found) == 1 else f" in {len(early)} of {len(found)} seeds"
    shown = ", ".join(map(_percent, early))
    return [f"before the transition{share}: matching of held-out pairs {shown}, below {TRANSITION:.0%}"]


def _matching(records: Sequence[Record], row: Query) -> list[Measured | None]:
    """Return the accuracy of matching of each checkpoint of ``row`` that anything was measured of."""
    weights = sorted({each.weights for each in rows_for(row, records)})
    return [look_up(MATCHING | row | Query({"weights": name}), records) for name in weights]


def _table_parts(artefact: Artefact, records: Sequence[Record], more: str, less: str) -> list[Part]:
    found = _pair(records, *(_query(artefact, row, FLOW) for row in (more, less)))
    remarks = {row: before_transition(artefact, row, FLOW, records)[0] for row in (more, less)}
    lacking = [f"{row}, {words}" for row, words in remarks.items() if words.startswith("before") or "not" in words]
    flow = _compared(f"F(1,3): {more} above {less}", found, "; ".join(lacking))
    return [flow, Part.unmeasured(f"VQA: {more} above {less}")]


def _at_all_layers(artefact: Artefact, records: Sequence[Record], more: str, less: str, metric: str) -> list[Part]:
    """Return a comparison a layer; printed layers that stand beside one of ours make one."""
    lacking = _lacking(records, [more, less])
    found: dict[int | None, Pair] = {}
    for column in _columns(artefact):
        pair = _pair(records, *(_query(artefact, curve, column, metric) for curve in (more, less)))
        layer = next((each.layer for each in pair if each is not None), None)
        found.setdefault(layer, pair)
    return [
        _compared(f"{more} above {less} by {metric.replace('_', ' ')}, layer {layer or 'any'}", pair, lacking)
        for layer, pair in found.items()
    ]


def _rise(artefact: Artefact, records: Sequence[Record], curve: str) -> list[Part]:
    ends, halves = f"last layer but one above first, {curve}", f"later half above earlier half, {curve}"
    last = look_up(_query(artefact, curve, _columns(artefact)[-1]), records)
    if last is None or last.depth is None or last.depth < 3:
        return [Part.unmeasured(ends), Part.unmeasured(halves)]
    by_layer = _query(artefact, curve, _columns(artefact)[0]).columns
    layers = [look_up(Query({**by_layer, "layer": layer}), records) for layer in range(1, last.depth)]
    half, lacking = len(layers) // 2, _lacking(records, [curve])
    earlier, later = (_mean([it for it in part if it]) for part in (layers[:half], layers[-half:]))
    return [_compared(ends, (layers[-1], layers[0]), lacking), _compared(halves, (later, earlier), lacking)]


def _dip(artefact: Artefact, records: Sequence[Record], curve: str) -> Part:
    what = f"last layer below the one before it, {curve}"
    found = look_up(_query(artefact, curve, _columns(artefact)[-1], "flow_change"), records)
    if found is None:
        return Part.unmeasured(what)
    shown, lacking = _shown(found), _lacking(records, [curve])
    if lacking or found.low is None or found.high is None:
        return Part(what, shown, Verdict.NOT_TESTABLE, lacking or "no interval")
    verdict = at_most(found.low, found.high, 0.0)
    return Part(what, shown, verdict, _DIP_WORDS[verdict])


def _overall(artefact: Artefact, records: Sequence[Record], more: str, less: str) -> Part:
    """Return the comparison of means over layers; the mean of their intervals' ends is wider than that of the mean."""
    means = (
        _mean([it for c in _columns(artefact) if (it := look_up(_query(artefact, curve, c), records))])
        for curve in (more, less)
    )
    return _compared(
        f"{more} above {less} by the mean over layers", (next(means), next(means)), _lacking(records, [more, less])
    )


def _mean(found: Sequence[Measured]) -> Measured | None:
    if not found:
        return None
    ends = [[end for each in found if (end := getattr(each, name)) is not None] for name in ("low", "high")]
    low, high = (sum(end) / len(end) if len(end) == len(found) else None for end in ends)
    value = sum(each.value for each in found) / len(found)
    return Measured(value, low, high, min(each.n for each in found), found[0].num_seeds)


def _compared(what: str, pair: Pair, lacking: str) -> Part:
    """Return whether the first is above the second, by their intervals; undecided where ``lacking`` says why."""
    more, less = pair
    if more is None or less is None:
        return Part.unmeasured(what)
    shown = f"{_shown(more)} against {_shown(less)}"
    if lacking:
        return Part(what, shown, Verdict.NOT_TESTABLE, lacking)
    if more.low is None or more.high is None or less.low is None or less.high is None:
        return Part(what, shown, Verdict.NOT_TESTABLE, "no interval")
    verdict = at_least(more.low - less.high, more.high - less.low, 0.0)
    return Part(what, shown, verdict, _ABOVE_WORDS[verdict])


def _lacking(records: Sequence[Record], curves: Iterable[str]) -> str:
    """Return which of the models have not come to use their images, where that was measured."""
    found = [(curve, it) for curve in curves for it in _matching(records, CURVES[curve])]
    early = [f"{curve} ({_percent(it)})" for curve, it in found if it is not None and it.value < TRANSITION]
    return f"before the transition, by matching: {', '.join(early)}" if early else ""


def _query(artefact: Artefact, curve: str, column: str, metric: str | None = None) -> Query:
    query = artefact.query(curve, column)
    assert query is not None
    return query if metric is None else query | Query({"metric": metric})


def _pair(records: Sequence[Record], more: Query, less: Query) -> Pair:
    return look_up(more, records), look_up(less, records)


def _columns(artefact: Artefact) -> list[str]:
    return list(artefact.columns)


def _shown(found: Measured) -> str:
    ends = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:.3f}{ends}"


def _percent(found: Measured) -> str:
    ends = "" if found.low is None or found.high is None else f" [{found.low * 100:.1f}, {found.high * 100:.1f}]"
    return f"{found.value:.1%}{ends}"


_ABOVE_WORDS = {
    Verdict.AGREES: "above",
    Verdict.DISAGREES: "below",
    Verdict.NOT_TESTABLE: "the intervals overlap",
}
_DIP_WORDS = {Verdict.AGREES: "falls", Verdict.DISAGREES: "rises", Verdict.NOT_TESTABLE: "the interval holds 0"}

ABLATION = Setup("coco_vg", "COCO and Visual Genome", "40 epochs of pre-training, 3 layers, 224 pixels")
COMPARED = Setup("coco_vg", "its pre-training data", "its own model, SOHO, UNITER and ViLT as released")

UNIFORM = (
    "Uniform: flow depends on how many tokens a modality has; F over that of uniform attention, and the numbers of "
    "tokens, stand in the probe's own table."
)

HELD_OUT = "Held out: ours is of pairs that were not trained on (dataset.split=test), the paper's of its training's."

TABLE5 = Artefact(
    name="visual_parsing/table5",
    experiment="visual_parsing/table5",
    setup=ABLATION,
    common=Query({"model": "swin_vlp", "probe": "imf", "condition": "model", "parameter": "", "head": None}),
    rows={
        R50: Query({"row": "r50"}),
        R101: Query({"row": "r101"}),
        NO_MFR: Query({"row": "no_mfr"}),
        RANDOM_MFR: Query({"row": "random_mfr"}),
        MFR: Query({"row": "mfr"}),
    },
    columns={
        "FLOPs (G)": Query({"metric": "multiply_accumulates", "label": "visual_parser"}),
        "Params (M)": Query({"metric": "parameters", "label": "visual_parser"}),
        FLOW: Query({"metric": "flow", "label": "accumulated", "layer": 3}),
    },
    remarks=(
        "Flow: attention of the first three layers; at size=tiny our models have four, the paper's have three.",
        UNIFORM,
        HELD_OUT,
        "Cost: counted from the parser as it was built, with a classifier of 1,000 classes, as the paper has it.",
        "VQA: fine-tuning on it has no experiment yet.",
    ),
    claims={"P1": parser_beats_cnn, "P2": attention_beats_random},
    others=frozenset({"pretraining"}),
    remark=before_transition,
)

FIGURE2 = Artefact(
    name="visual_parsing/figure2",
    experiment="visual_parsing/figure2",
    setup=ABLATION,
    common=Query({"model": "swin_vlp", "probe": "masks", "metric": "cosine", "condition": "model", "label": ""}),
    rows={
        "attention-based masking": Query({"parameter": "masking=parsed"}),
        "random masking": Query({"parameter": "masking=random"}),
    },
    columns={"masked tokens drawn on images": Query({"row": ""})},
    remarks=(
        "Pictures: pictures-data.png among the cell's figures, and pictures-folder.png of NLVR's images with "
        "paths.nlvr=DIR; the paper prints pictures alone.",
        "Ours: similarity (cosine) of the drawn cell's feature and those of the cells hidden with it.",
    ),
    pictures="pictures-*.png",
)


def _curves(
    name: str, setup: Setup, measured: Words, heads: Iterable[str], remarks: tuple[str, ...], claims: Mapping[str, Test]
) -> Artefact:
    """Return a figure of one number by layer of each model; ``heads`` are those of its columns, in order."""
    return Artefact(
        name=name,
        experiment=name,
        setup=setup,
        common=Query({"condition": "model", "parameter": "", **measured}),
        rows=CURVES,
        columns={head: Query(layer=layer, depth=DEPTH) for layer, head in enumerate(heads, 1)},
        remarks=remarks,
        claims=claims,
        others=frozenset({"pretraining"}),
    )


FIGURE3 = _curves(
    "visual_parsing/figure3",
    COMPARED,
    {"probe": "imf", "metric": "flow", "label": "accumulated"},
    [f"F_inter^{{1,{j}}}" for j in LAYERS],
    (UNIFORM, HELD_OUT),
    {"P3": flow_orders_models},
)

FIGURE4 = _curves(
    "visual_parsing/figure4",
    COMPARED,
    {"probe": "imf", "metric": "flow", "label": "layer"},
    [f"F_inter^{{{i},{i}}}" for i in LAYERS],
    (UNIFORM, HELD_OUT),
    {"P4": flow_rises_and_dips},
)

FIGURE5 = _curves(
    "visual_parsing/figure5",
    Setup("visual_genome", "Visual Genome", COMPARED.weights),
    {"probe": "nmi", "metric": "nmi", "label": "", "parameter": "specials=text"},
    [f"layer {layer}" for layer in LAYERS],
    ("Specials: [CLS] and [SEP] count as text, and ViLT's class token as vision.",),
    {"P5": backbones_lie_closer},
)
