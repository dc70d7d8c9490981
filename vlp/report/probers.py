"""Wording what probers read off: beside every control, by the paired gain, and why untrained weights score high."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vlp.report.comparing import EXACT, MODEL, Measurement, Place, Standing, layers_in_words, stand_to_zero
from vlp.report.wording import MAIN_CONTROL, Finding, as_control, is_untrained, model_value, under, with_interval
from vlp.results import Record

STATES = "embedding"
"""The prober that reads hidden states."""

OWN_CONTROLS = {
    "phrase_only": "the phrase alone",
    "region_only": "the region alone",
    "visual_features": "the raw visual features",
}
"""Controls of the probes' own: what is told from the inputs without the model, so that a model has to tell more."""

MISMATCHED = "mismatched"
"""Pairs with another caption: a condition on the text that the model reads, where there is a model."""

RAW = "visual_features"
"""The prober that reads the regions' features and no model; also the condition that its rows have."""

HIGH = 0.10
"""How far above the trivial baselines random weights need an explanation."""


def read_off(found: Sequence[Measurement]) -> Finding | None:
    """Answer from a prober's accuracy, at one place or layer by layer, and from its paired gain over random weights.

    A layer counts as above random weights by the paired gain where there is one, else by intervals that do not overlap,
    and has to be above the trivial baselines too; the embedding output is told but not judged. Where the probe's own
    controls tell as much as the model the answer is at most in part, and says which.
    """
    accuracies = [each for each in found if each.quantity.metric == "accuracy" and each.model is not None]
    measured = sorted(accuracies, key=lambda each: each.place.layer or 0)
    if not measured:
        return _from_raw_features(found)
    gains, p_values = (_over(found, MAIN_CONTROL, metric) for metric in ("accuracy_gain", "p_value"))
    best = max(measured, key=lambda each: each.model.value if each.model else 0.0)
    text = _best_in_words(best, _balanced(found, best.place), len(measured) > 1)
    if is_untrained(best) or MAIN_CONTROL not in best.by_condition:
        return Finding(f"{text}{as_control(best)}.", "measured")
    if best.place in gains:
        p_value = f", p {with_interval(p_values[best.place])}" if best.place in p_values else ""
        text += f"; paired difference to random weights {with_interval(gains[best.place])}{p_value}"
    standings = {each.place.layer: _above_all(each, gains.get(each.place)) for each in measured}
    judged = [each for each in measured if each.place.layer != 0]
    inputs = {each.place: _over_own_controls(found, each) for each in [*judged, best]}
    text += f"{_layers_above(standings)}.{_inputs_tell(found, best, inputs[best.place])}"
    finding = Finding.judged(text, [standings[each.place.layer] for each in judged], Standing.ABOVE)
    is_above = all(standing is Standing.ABOVE for each in judged for standing in inputs[each.place].values())
    return finding if is_above or finding.verdict != "yes" else replace(finding, verdict="partly")


def _over_own_controls(found: Sequence[Measurement], each: Measurement) -> dict[str, Standing]:
    """Return where ``each`` stands to the probe's own controls: by the paired gain, else by their intervals."""
    gains = {name: _over(found, name, "accuracy_gain").get(each.place) for name in OWN_CONTROLS}
    standings = {
        name: each.standing(name) if gain is None or gain.ci_low is None else stand_to_zero(gain)
        for name, gain in gains.items()
    }
    return {name: standing for name, standing in standings.items() if standing is not None}


def _inputs_tell(found: Sequence[Measurement], best: Measurement, standings: Mapping[str, Standing]) -> str:
    """Return the sentences on which of the probe's own controls tell more than the model, or no less."""
    sentences = []
    for standing, words in ((Standing.BELOW, "more"), (Standing.OVERLAP, "no less")):
        told = [name for name, stands in standings.items() if stands is standing]
        if told:
            listed = " and ".join(_with_gain(found, best, name) for name in told)
            verb = "tells" if len(told) == 1 and told != [RAW] else "tell"
            sentences.append(f" {listed[0].upper()}{listed[1:]} {verb} {words}.")
    return "".join(sentences)


def _with_gain(found: Sequence[Measurement], best: Measurement, control: str) -> str:
    """Return a control's name, with the paired difference to it in brackets where there is one."""
    gain = _over(found, control, "accuracy_gain").get(best.place)
    return OWN_CONTROLS[control] + ("" if gain is None else f" (paired difference {with_interval(gain)})")


def _from_raw_features(found: Sequence[Measurement]) -> Finding | None:
    """Answer from the prober that reads no model, which is a control itself."""
    raw = [each for each in found if each.subject.prober == RAW and RAW in each.by_condition]
    accuracies = [each for each in raw if each.quantity.metric == "accuracy"]
    if not accuracies:
        return None
    value, balanced = with_interval(accuracies[0].by_condition[RAW]), _balanced(raw, accuracies[0].place, RAW)
    beside = _against(accuracies[0], RAW)
    return Finding(
        f"{value} right{balanced} {under(RAW)}{beside}; no model is read, so this is a control itself.", "measured"
    )


def _balanced(found: Sequence[Measurement], place: Place, condition: str = MODEL) -> str:
    """Return the balanced accuracy at ``place`` in brackets, empty where there is none."""
    balanced = [each for each in found if (each.quantity.metric, each.place) == ("balanced_accuracy", place)]
    record = balanced[0].by_condition.get(condition) if balanced else None
    return "" if record is None else f" (balanced {with_interval(record)})"


def _best_in_words(best: Measurement, balanced: str, is_of_many: bool) -> str:
    layer = "" if best.place.layer is None else f" in {layers_in_words([best.place.layer])}"
    return f"{'At best ' if is_of_many else ''}{model_value(best)} right{balanced}{layer}{_against(best, MODEL)}"


def _against(found: Measurement, condition: str) -> str:
    """Return the clause of what stands beside ``condition``, empty where nothing does."""
    others = [
        f"{with_interval(record)} {under(name)}" for name, record in found.by_condition.items() if name != condition
    ]
    return f", against {', '.join(others)}" if others else ""


def _layers_above(standings: Mapping[int | None, Standing]) -> str:
    """Return the clause on how many layers stand above, empty for a number of no layer."""
    layers = [layer for layer in standings if layer]
    above = [layer for layer in layers if standings[layer] is Standing.ABOVE]
    if not layers:
        return ""
    where = layers_in_words(above) if above else "no layer"
    return f"; above random weights and trivial baselines in {where}, of {layers_in_words(layers)}"


def _above_all(found: Measurement, gain: Record | None) -> Standing:
    """Return the least good standing to random weights and the trivial baselines."""
    trivial = [found.standing(name) for name in EXACT]
    untrained = found.standing(MAIN_CONTROL) if gain is None else stand_to_zero(gain)
    known = [standing for standing in (untrained, *trivial) if standing is not None]
    order = (Standing.BELOW, Standing.UNKNOWN, Standing.OVERLAP, Standing.ABOVE)
    return min(known, key=order.index, default=Standing.UNKNOWN)


def _over(found: Sequence[Measurement], control: str, metric: str) -> dict[Place, Record]:
    """Return a comparison with ``control`` by place."""
    asked = (metric, f"over={control}")
    compared = [each for each in found if (each.quantity.metric, each.quantity.parameter) == asked]
    return {each.place: each.model for each in compared if each.model is not None}


def why_untrained_links_score(found: Sequence[Measurement]) -> str:
    """Return why random weights tell links of phrase and region, empty where they do not."""
    return _why_untrained_score(
        found,
        "which word it is and which features the region has is all it takes, and states keep both without any training",
    )


def why_untrained_relations_score(found: Sequence[Measurement]) -> str:
    """Return why random weights tell relations of regions, empty where they do not."""
    return _why_untrained_score(found, "states keep the features and places of both regions without any training")


def _why_untrained_score(found: Sequence[Measurement], cause: str) -> str:
    """Return why random weights score high, where their interval is far above the best trivial baseline."""
    high = [each for each in found if _is_high_untrained(each)]
    if not high:
        return ""
    best = max(high, key=lambda each: each.by_condition[MAIN_CONTROL].value)
    reached = with_interval(best.by_condition[MAIN_CONTROL])
    if best.place.layer is not None:
        reached += f" in {layers_in_words([best.place.layer])}"
    if found[0].subject.prober != STATES:
        cause += ", and random projections weigh one token by the other as they are"
    lost = any(stand_to_zero(gain) is Standing.BELOW for gain in _over(found, MAIN_CONTROL, "accuracy_gain").values())
    harder = "; below zero it made the answer harder to read for this prober, which does not say it is gone"
    return (
        f"Random weights already reach {reached}: {cause}. So a high accuracy alone says nothing of "
        f"pre-training; what pre-training adds is the paired difference{harder if lost else ''}."
    )


def _is_high_untrained(found: Measurement) -> bool:
    untrained = found.by_condition.get(MAIN_CONTROL)
    trivial = [found.by_condition[name].value for name in EXACT if name in found.by_condition]
    if found.quantity.metric != "accuracy" or untrained is None or untrained.ci_low is None or not trivial:
        return False
    return untrained.ci_low > max(trivial) + HIGH
