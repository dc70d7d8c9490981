"""What pre-training taught, on held-out data: which image belongs to a caption, and what it tells of a hidden word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vlp.configs.showing import shown
from vlp.configs.targets import check_class, is_shipped, targets
from vlp.data.dataset import VLDataset
from vlp.data.loading import EveryBatch, whole_batches
from vlp.data.masking import IGNORE
from vlp.data.pairs import PretrainingBatch, PretrainingPairs
from vlp.data.statistics import mean_feature, mean_pixel, with_mean_feature, with_mean_pixel
from vlp.data.tokenisation import CaptionTokenizer
from vlp.metrics.estimates import Estimate, SampleMean
from vlp.models.checkpoints.files import read_contents
from vlp.models.checkpoints.vlp import HEADS
from vlp.models.encoder import Encoding, VLEncoder
from vlp.objectives.itm import ImageTextMatching
from vlp.objectives.mlm import MaskedLanguageModelling
from vlp.pretraining import Bundle
from vlp.probes.base import Probe, estimated_row
from vlp.results import Row

# Axes: B pairs, T text tokens, F feature width, N masked positions of a batch.

OBJECTIVE_HOMES = ("vlp.objectives", "vlp.data.masking")
"""Where the classes are, of ours, that a checkpoint's objectives may name."""

CONDITIONS = ("model", "random_weights")
IMAGES = ("own", "mean", "mean-own")
"""Which image a masked word is told with; the last is the paired difference."""


class PretrainingProbe(Probe):
    """Asks a model's own pre-training heads about data it was not trained on.

    Rows ``accuracy`` with label ``itm``: matching, on pairs some of which are mismatched and where nothing is hidden,
    beside the condition ``majority``. Rows ``bits`` with label ``masked_words``: the loss of hidden words of matched
    pairs, a sample's words averaged first. There ``parameter`` says which image the model saw: ``image=own``,
    ``image=mean`` (every region has the mean feature of the data, at its own place; every pixel has their mean colour),
    and ``image=mean-own``, the difference sample by sample: what the image is worth. What is hidden and what is
    mismatched is drawn as training was configured to, as a function of the seed and the sample.

    Args:
        encoder: the model in question.
        control: the same architecture with random weights; it gets random heads.
        seed: of the masks and mismatched pairs.
        needs: annotations the data must have.
        weights: the checkpoint of ours that ``encoder`` was loaded from, which has the heads; None for random weights.
        max_samples: of the data, the first ones; None for all.

    Raises:
        ValueError: if there are no heads of `mlm` and `itm`, or the model reads no image.
    """

    def __init__(
        self,
        encoder: VLEncoder,
        control: VLEncoder,
        seed: int = 0,
        needs: Iterable[str] = (),
        weights: Path | str | None = None,
        max_samples: int | None = None,
    ) -> None:
        super().__init__(encoder, control, seed, needs)
        if encoder.reads == "text":
            raise ValueError(f"probe pretraining asks what the image is worth, and model {encoder.name} reads none")
        self.words, self.matching = trained_heads(encoder, weights)
        self.control_words, self.control_matching = random_heads(control, weights, seed)
        self.max_samples = max_samples
        self.mean: Tensor | None = None
        self.accuracy = SampleMean((len(CONDITIONS),))
        self.matched = SampleMean()
        self.bits = SampleMean((len(CONDITIONS), len(IMAGES)))

    def loader(
        self, dataset: VLDataset, tokenizer: CaptionTokenizer, batch_size: int, num_workers: int = 0
    ) -> DataLoader[Any]:
        """Return every sample, or the first ones, twice: in a matched or mismatched pair, and with words hidden."""
        pixel_input = self.encoder.pixel_input
        self.mean = mean_feature(dataset) if pixel_input is None else mean_pixel(dataset, pixel_input)
        corruptions = {"itm": self.matching.corruption, "mlm": self.words.corruption}
        pairs = PretrainingPairs(dataset, tokenizer, corruptions, self.seed, self.encoder.max_positions, pixel_input)
        size = len(dataset) if self.max_samples is None else min(self.max_samples, len(dataset))
        order = EveryBatch(size, batch_size, [(task,) for task in corruptions])
        return whole_batches(pairs, order, num_workers)

    def test_step(self, batch: PretrainingBatch, batch_idx: int) -> None:
        """Ask the heads of both models."""
        if batch.concerns("itm"):
            self._ask_matching(batch)
        if batch.concerns("mlm"):
            self._ask_words(batch)

    def results(self) -> list[Row]:
        """Return rows of matching, of the majority, and of hidden words."""
        accuracy, matched, bits = self.accuracy.estimate(), self.matched.estimate(), self.bits.estimate()
        itm = [estimated_row(name, "accuracy", accuracy, i, label="itm") for i, name in enumerate(CONDITIONS)]
        majority = Row(
            "majority", "accuracy", float(max(matched.value, 1 - matched.value)), int(matched.n), label="itm"
        )
        return [*itm, majority, *_word_rows(bits)]

    def _ask_matching(self, batch: PretrainingBatch) -> None:
        models = ((self.encoder, self.matching), (self.control, self.control_matching))
        answers = [head.logits(encoder(batch.inputs)).argmax(-1) for encoder, head in models]
        right = torch.stack([answer == batch.is_matched.long() for answer in answers], dim=1)
        self.accuracy.update(right.double())
        self.matched.update(batch.is_matched.double())

    def _ask_words(self, batch: PretrainingBatch) -> None:
        blind = self._without_image(batch)
        models = ((self.encoder, self.words), (self.control, self.control_words))
        values = [
            (
                bits_a_sample(head, encoder(batch.inputs), batch, encoder),
                bits_a_sample(head, encoder(blind), batch, encoder),
            )
            for encoder, head in models
        ]
        self.bits.update(torch.stack([torch.stack([own, mean, mean - own], 1) for own, mean in values], dim=1))

    def _without_image(self, batch: PretrainingBatch) -> Any:
        if self.mean is None:
            raise RuntimeError("PretrainingProbe: test it on what its loader() returns, which finds the mean feature")
        inputs = batch.inputs
        if inputs.pixels is not None:
            assert inputs.pixel_mask is not None
            return replace(inputs, pixels=with_mean_pixel(inputs.pixels, inputs.pixel_mask, self.mean))
        assert inputs.features is not None
        assert inputs.region_mask is not None
        return replace(inputs, features=with_mean_feature(inputs.features, inputs.region_mask, self.mean))


def bits_a_sample(
    objective: MaskedLanguageModelling, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder
) -> Tensor:
    """Return (B,) the mean loss in bits over each sample's hidden words; NaN where none is hidden."""
    logits_NW, labels_N = objective.logits(encoding, batch.text_labels, encoder)
    losses_N = nn.functional.cross_entropy(logits_NW.double(), labels_N, reduction="none") / math.log(2)
    is_asked_BT = batch.text_labels != IGNORE
    total = losses_N.new_zeros(len(batch)).index_add_(0, is_asked_BT.nonzero()[:, 0], losses_N)
    return total / is_asked_BT.sum(1)


def trained_heads(encoder: VLEncoder, weights: Path | str | None) -> tuple[MaskedLanguageModelling, ImageTextMatching]:
    """Return the heads of masked words and of matching in the checkpoint ``weights``, frozen.

    Raises:
        ValueError: if it has none, or they are of other shapes than its record says.
    """
    heads = _built(encoder, weights)
    tensors = read_contents(_given(weights)).tensors
    own = {key.removeprefix(HEADS): tensor for key, tensor in tensors.items() if key.startswith(HEADS)}
    try:
        missing = heads.load_state_dict(own, strict=False).missing_keys
    except RuntimeError as error:  # torch's way of saying that shapes differ
        why = "; ".join(str(error).split("\n\t")[1:])
        raise ValueError(f"{weights} has pre-training heads of other shapes than its record says: {why}") from error
    if missing:
        raise ValueError(f"{weights} lacks pre-training heads that its record lists: {', '.join(missing)}")
    return _pick(heads, weights)


def random_heads(
    encoder: VLEncoder, weights: Path | str | None, seed: int
) -> tuple[MaskedLanguageModelling, ImageTextMatching]:
    """Return heads like those of the checkpoint ``weights``, with random weights, frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _pick(_built(encoder, weights), weights)


def _built(encoder: VLEncoder, weights: Path | str | None) -> nn.ModuleDict:
    record = read_contents(_given(weights)).record or {}
    if not record.get("objective"):
        raise ValueError(
            f"{weights} has no pre-training heads, which probe pretraining asks; expected a .ckpt of train.py"
        )
    try:
        _check_objective(record["objective"])
        return Bundle.from_config(record["objective"]).build(encoder, record.get("num_classes"))
    except (ValueError, TypeError) as error:  # of what the record says, where a run's own config would be meant
        raise ValueError(f"{weights}, record: {error}") from error


def _check_objective(objective: Mapping[str, Any]) -> None:
    """Check what a checkpoint says of its objectives: it may build these, and nothing else that configs may."""
    parts = objective.get("parts")
    described = [part for part in parts.values() if part is not None] if isinstance(parts, Mapping) else [None]
    if "combine" not in objective or not all(_is_part(part) for part in described):
        raise ValueError(f"objective: found {shown(objective)}, expected combine and parts, each a module and a weight")
    for at, target in targets(objective, "objective"):
        if is_shipped(target):
            check_class(target, OBJECTIVE_HOMES, at)


def _is_part(part: Any) -> bool:
    """Whether ``part`` describes an objective: what builds it, and the number its loss is multiplied by."""
    if not isinstance(part, Mapping) or not isinstance(part.get("module"), Mapping):
        return False
    return isinstance(part.get("weight"), int | float)


def _given(weights: Path | str | None) -> Path:
    if weights is None:
        raise ValueError("probe pretraining asks a model's pre-training heads, and weights=random has none")
    return Path(weights)


def _pick(heads: nn.ModuleDict, weights: Path | str | None) -> tuple[MaskedLanguageModelling, ImageTextMatching]:
    heads.requires_grad_(False).eval()
    words = next((head for head in heads.values() if isinstance(head, MaskedLanguageModelling)), None)
    matching = next((head for head in heads.values() if isinstance(head, ImageTextMatching)), None)
    if words is None or matching is None:
        raise ValueError(f"{weights} has heads {', '.join(heads)}; probe pretraining asks those of mlm and itm")
    return words, matching


def _word_rows(bits: Estimate) -> list[Row]:
    places = [(c, i) for c in range(len(CONDITIONS)) for i in range(len(IMAGES))]
    return [
        estimated_row(CONDITIONS[c], "bits", bits, (c, i), label="masked_words", parameter=f"image={IMAGES[i]}")
        for c, i in places
    ]
