"""Does a model tell which region a phrase refers to, and of which type it is (VALUE section 4.3, table 3)?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from vlp.data.dataset import VLDataset
from vlp.data.sample import Sample
from vlp.models.encoder import VLEncoder
from vlp.probes.activations import PairActivations
from vlp.probes.coreference_items import coreference_links
from vlp.probes.items import Links, PairItems, items_of, linked_kinds, numbered
from vlp.probes.pair_sites import PairSites, coreference_sites
from vlp.probes.probers.fitting import ProberFactory
from vlp.probes.trained import Task, TrainedProbe, checked_question

QUESTIONS = ("linked", "type")
CLASSES = ("unlinked", "linked")


class CoreferenceProbe(TrainedProbe):
    """Trains a prober to tell whether a phrase and a region are linked (``linked``, VCD) or their ``type`` (VCC).

    A phrase is the mean of its pieces' states, and the largest of their attention weights. Linked and unlinked pairs
    are equally many; an unlinked one is the phrase of a linked one with a region of another chain of the caption. The
    type is the first that the file gives, and asked of linked pairs. Controls of its own, without any model: what a
    linear classifier reads from the phrase's embedding (``phrase_only``), and from the region's raw feature
    (``region_only``).

    Args:
        encoder, control, prober, max_train_samples, max_val_samples, max_test_samples, resamples, with_length, seed,
            needs: see `TrainedProbe`.
        question: ``linked`` or ``type``.

    Raises:
        ValueError: if there is no such question, or text and vision never meet in the model.
    """

    def __init__(
        self,
        encoder: VLEncoder,
        control: VLEncoder,
        prober: ProberFactory,
        question: str,
        max_train_samples: int | None,
        max_val_samples: int | None,
        max_test_samples: int | None,
        resamples: int,
        with_length: bool,
        seed: int = 0,
        needs: Iterable[str] = ("regions", "phrases"),
    ) -> None:
        limits = max_train_samples, max_val_samples, max_test_samples
        super().__init__(encoder, control, seed, needs, prober, *limits, resamples, with_length)
        self.question = checked_question(question, QUESTIONS)

    def sites_of(self, encoder: VLEncoder) -> PairSites:
        """Return where phrases and regions meet."""
        return coreference_sites(encoder.sites)

    def read(self, sample: Sample, generator: np.random.Generator) -> Links:
        """Return the pairs of a caption's phrases and regions."""
        return coreference_links(sample, generator)

    def items(self, links: Mapping[str, Links], datasets: Mapping[str, VLDataset]) -> dict[str, PairItems]:
        """Return the items of every part."""
        if self.question == "linked":
            asking = {part: each.asking() for part, each in links.items()}
            return items_of(asking, datasets, lambda part: part.asks, lambda part: part.is_linked.astype(int), CLASSES)
        kinds = linked_kinds(links["train"])
        return items_of(links, datasets, lambda part: part.is_linked, lambda part: numbered(part.kinds, kinds), kinds)

    def own_controls(self, kept: Mapping[str, Mapping[str, PairActivations]]) -> list[Task]:
        """Return what the phrase alone tells, and what the region alone does."""
        phrases = {part: read.states[:, :1] for part, read in kept["model"].items()}
        regions = {part: read.features[:, None] for part, read in kept["model"].items() if read.features is not None}
        return [self.one_sided("phrase_only", phrases), self.one_sided("region_only", regions)]
