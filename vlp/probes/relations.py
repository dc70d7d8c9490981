"""Does a model tell which regions are related, and how (VALUE section 4.4, figure 5)?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from vlp.data.dataset import VLDataset
from vlp.data.sample import Sample
from vlp.models.encoder import VLEncoder
from vlp.probes.activations import PairActivations
from vlp.probes.items import Links, PairItems, items_of, linked_kinds, numbered
from vlp.probes.pair_sites import PairSites, relation_sites
from vlp.probes.probers.fitting import ProberFactory
from vlp.probes.relation_items import capped, relation_links
from vlp.probes.trained import TRAIN, Task, TrainedProbe, checked_question

QUESTIONS = ("related", "predicate")
CLASSES = ("unrelated", "related")
OWN_LIMITS = ("n_relations", "max_per_annotation", "max_pairs_per_type")


class RelationProbe(TrainedProbe):
    """Trains a prober to tell whether two regions are ``related`` (VRI), or by which ``predicate`` (VRC).

    Roles are fixed: the first is the subject. The text is the sample's caption, whichever the data set gives (the paper
    takes the region description that owns the relation: ``dataset.text=region_description`` in scenes). Related and
    unrelated pairs are equally many in every annotation. Controls of its own: the caption of another image, in training
    and in the test (``mismatched``), and equation 4 on raw features (``visual_features``).

    Args:
        encoder, control, prober, max_train_samples, max_val_samples, max_test_samples, resamples, with_length, seed,
            needs: see `TrainedProbe`.
        question: ``related`` or ``predicate``.
        n_relations: how many predicates count, the most frequent in training; None for all.
        max_per_annotation: relations of one predicate taken from one annotation; None for all.
        max_pairs_per_type: relations of one predicate taken in all; None for all.

    Raises:
        ValueError: if there is no such question, an option is too small, or the model has no stream of regions.
    """

    at_most = (*TrainedProbe.at_most, *OWN_LIMITS)
    takes = ("attention", "states", "features")

    def __init__(
        self,
        encoder: VLEncoder,
        control: VLEncoder,
        prober: ProberFactory,
        question: str,
        n_relations: int | None,
        max_per_annotation: int | None,
        max_pairs_per_type: int | None,
        max_train_samples: int | None,
        max_val_samples: int | None,
        max_test_samples: int | None,
        resamples: int,
        with_length: bool,
        seed: int = 0,
        needs: Iterable[str] = ("regions", "objects", "relations"),
    ) -> None:
        limits = max_train_samples, max_val_samples, max_test_samples
        super().__init__(encoder, control, seed, needs, prober, *limits, resamples, with_length)
        self.question = checked_question(question, QUESTIONS)
        self.n_relations = n_relations
        self.max_per_annotation, self.max_pairs_per_type = max_per_annotation, max_pairs_per_type
        self.check_options({name: getattr(self, name) for name in OWN_LIMITS})

    @property
    def conditions(self) -> tuple[str, ...]:
        """What is read: for raw features of the model alone, which no other condition would change."""
        return ("model",) if self.reads == "features" else ("model", "random_weights", "mismatched")

    def sites_of(self, encoder: VLEncoder) -> PairSites:
        """Return the layers of the stream that regions are in."""
        return relation_sites(encoder.sites)

    def read(self, sample: Sample, generator: np.random.Generator) -> Links:
        """Return the pairs of an annotation's objects."""
        return relation_links(sample, generator)

    def items(self, links: Mapping[str, Links], datasets: Mapping[str, VLDataset]) -> dict[str, PairItems]:
        """Return the items of every part."""
        predicates = linked_kinds(links[TRAIN], self.n_relations)
        limits = self.max_per_annotation, self.max_pairs_per_type
        kept = {part: capped(each, predicates, *limits, self.seed) for part, each in links.items()}
        if self.question == "related":
            asking = {part: each.asking() for part, each in kept.items()}
            return items_of(asking, datasets, lambda part: part.asks, lambda part: part.is_linked.astype(int), CLASSES)
        return items_of(
            kept, datasets, lambda part: part.is_linked, lambda part: numbered(part.kinds, predicates), predicates
        )

    def own_controls(self, kept: Mapping[str, Mapping[str, PairActivations]]) -> list[Task]:
        """Return what raw features tell, unless that is the measurement."""
        return [] if self.reads == "features" else [self.raw_features(kept["model"])]
