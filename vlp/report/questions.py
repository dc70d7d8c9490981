"""The questions that probes were made to ask, and how their measurements answer them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlp.report.comparing import Measurement, Standing, stand_to_zero
from vlp.report.probers import read_off, why_untrained_links_score, why_untrained_relations_score
from vlp.report.wording import MAIN_CONTROL, Finding, describe, with_interval


@dataclass(frozen=True)
class Question:
    """What a probe was made to ask of a metric (of several that belong together) and label, and what answers it."""

    probe: str
    metric: str
    label: str
    words: str
    answer: Callable[[Sequence[Measurement]], Finding | None]
    beside: tuple[str, ...] = ()
    explain: Callable[[Sequence[Measurement]], str] = lambda found: ""

    def fits(self, found: Measurement) -> bool:
        """Whether ``found`` bears on the question."""
        quantity = found.quantity
        is_asked = (found.subject.probe, quantity.label) == (self.probe, self.label)
        return is_asked and quantity.metric in (self.metric, *self.beside)


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


def _flows(found: Sequence[Measurement]) -> Finding | None:
    """Answer from the flow of every layer; that of uniform attention stands among its controls."""
    return describe(found, None) if any(each.model for each in found) else None


def _of_probers(probe: str, words: str, explain: Callable[[Sequence[Measurement]], str]) -> Question:
    asked = f"Can a prober read off {words}?"
    beside = ("balanced_accuracy", "accuracy_gain", "p_value", "selectivity", "description_length")
    return Question(probe, "accuracy", "", asked, read_off, beside, explain)


QUESTIONS = (
    Question("pretraining", "accuracy", "itm", "Does it tell matched from swapped pairs?", _tells_pairs),
    Question("pretraining", "bits", "masked_words", "Does it use the image to fill in masked words?", _uses_image),
    Question("nmi", "nmi", "", "Are text and vision mixed more than without training?", _mixes_modalities),
    Question("nmi", "share", "smaller_cluster", "How much of the tokens is in the smaller cluster?", _cluster_size),
    Question("imf", "flow", "accumulated", "How much flows between text and vision from layer 1 up to each?", _flows),
    Question("imf", "flow", "layer", "How much flows between text and vision in each layer alone?", _flows),
    _of_probers("vcd", "whether a phrase and a region belong together", why_untrained_links_score),
    _of_probers("vcc", "of which type a phrase and its region are", why_untrained_links_score),
    _of_probers("vri", "whether two regions are related", why_untrained_relations_score),
    _of_probers("vrc", "how two regions are related", why_untrained_relations_score),
)
"""Questions with words of their own, in the order of the scoreboard."""
