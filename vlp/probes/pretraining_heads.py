"""What pre-training taught, on held-out data: which image belongs to a caption, and what it tells of a hidden word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vlp.configs import read_option
from vlp.configs.showing import shown
from vlp.configs.targets import check_class, is_shipped, targets
from vlp.data.dataset import VLDataset
from vlp.data.loading import EveryBatch, whole_batches
from vlp.data.masking import IGNORE, Corruption
from vlp.data.pairs import PretrainingBatch, PretrainingPairs
from vlp.data.sample import Batch
from vlp.data.statistics import mean_colour, mean_feature, with_mean_colour, with_mean_feature
from vlp.data.tokenisation import CaptionTokenizer
from vlp.metrics.estimates import Estimate, SampleMean
from vlp.models.checkpoints.files import read_contents
from vlp.models.checkpoints.loading import convert
from vlp.models.encoder import Encoding, VLEncoder
from vlp.objectives.itm import ImageTextMatching
from vlp.objectives.mlm import MaskedLanguageModelling
from vlp.pretraining import Bundle
from vlp.probes.base import Probe, estimated_row
from vlp.results import Row

# Axes: B pairs, T text tokens, F feature width, N masked positions of a batch.

OBJECTIVE_HOMES = ("vlp.objectives", "vlp.data.masking")
"""Where the classes are, of ours, that a checkpoint's objectives may name."""

ASKED = ("mlm", "itm")
"""The objectives whose heads are asked, as ``conf/objective/part`` calls them."""

CONDITIONS = ("model", "random_weights")
IMAGES = ("own", "mean", "mean-own")
"""Which image a masked word is told with; the last is the paired difference."""


class NothingToAskError(ValueError):
    """There is no head to ask, and nothing is wrong with that."""


class PretrainingProbe(Probe):
    """Asks a model's own pre-training heads about data it was not trained on.

    Rows ``accuracy`` with label ``itm``: matching, on pairs some of which are mismatched and where nothing is hidden,
    beside the condition ``majority``. Rows ``bits`` with label ``masked_words``: the loss of hidden words of matched
    pairs, a sample's words averaged first. There ``parameter`` says which image the model saw: ``image=own``,
    ``image=mean`` (every region has the mean feature of the data, at its own place, or every pixel their mean colour),
    and ``image=mean-own``, the difference sample by sample: what the image is worth. What is hidden and what is
    mismatched is drawn as training was configured to, or, for weights that do not say how, as ``conf/objective`` has it
    of the model's paper, as a function of the seed and the sample. Weights with one of the two heads give its rows.

    Args:
        encoder: the model in question.
        control: the same architecture with random weights; it gets random heads.
        seed: of the masks and mismatched pairs.
        needs: annotations the data must have.
        weights: the checkpoint that ``encoder`` was loaded from, ours or released, which has the heads; None for random
            weights.
        max_samples: of the data, the first ones; None for all.
        strict: refuse a checkpoint that has a part of a head alone; else that head is not asked, and `lacking` tells.

    Raises:
        NothingToAskError: if there is no head of `mlm` or `itm`, or the model reads no image.
        ValueError: if what there is of heads is not whole.
    """

    def __init__(
        self,
        encoder: VLEncoder,
        control: VLEncoder,
        seed: int = 0,
        needs: Iterable[str] = (),
        weights: Path | str | None = None,
        max_samples: int | None = None,
        strict: bool = True,
    ) -> None:
        super().__init__(encoder, control, seed, needs)
        written = WrittenHeads.read(weights)
        heads = written.build(encoder)
        self.lacking = written.lacking(heads)
        if self.lacking and (strict or self.lacking.keys() == heads.keys()):
            raise ValueError(written.says(self.lacking, encoder))
        self.words, self.matching = trained_heads(heads, written)
        self.control_words, self.control_matching = random_heads(control, written, seed)
        self.max_samples = max_samples
        self.mean: Tensor | None = None
        self.accuracy = SampleMean((len(CONDITIONS),))
        self.matched = SampleMean()
        self.bits = SampleMean((len(CONDITIONS), len(IMAGES)))

    @classmethod
    def check_encoder(cls, encoder: VLEncoder, needs: Iterable[str], probe: str) -> None:
        """Refuse a model that reads no image as well."""
        super().check_encoder(encoder, needs, probe)
        if encoder.reads == "text":
            why = f"probe pretraining asks what the image is worth, and model {encoder.name} reads none"
            raise NothingToAskError(why)

    def loader(
        self, dataset: VLDataset, tokenizer: CaptionTokenizer, batch_size: int, num_workers: int = 0
    ) -> DataLoader[Any]:
        """Return every sample, or the first ones, twice: in a matched or mismatched pair, and with words hidden."""
        pixel_input = self.encoder.pixel_input
        self.mean = mean_feature(dataset) if pixel_input is None else mean_colour(dataset, pixel_input)
        heads = {"itm": self.matching, "mlm": self.words}
        corruptions: dict[str, Corruption] = {task: head.corruption for task, head in heads.items() if head is not None}
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
        """Return rows of matching, of the majority, and of hidden words, where there is a head for them."""
        matching = [] if self.matching is None else _matching_rows(self.accuracy.estimate(), self.matched.estimate())
        return [*matching, *([] if self.words is None else _word_rows(self.bits.estimate()))]

    def _ask_matching(self, batch: PretrainingBatch) -> None:
        assert self.matching is not None
        assert self.control_matching is not None
        models = ((self.encoder, self.matching), (self.control, self.control_matching))
        answers = [head.logits(encoder(batch.inputs)).argmax(-1) for encoder, head in models]
        right = torch.stack([answer == batch.is_matched.long() for answer in answers], dim=1)
        self.accuracy.update(right.double())
        self.matched.update(batch.is_matched.double())

    def _ask_words(self, batch: PretrainingBatch) -> None:
        assert self.words is not None
        assert self.control_words is not None
        blind = self._without_image(batch.inputs)
        models = ((self.encoder, self.words), (self.control, self.control_words))
        values = [
            (
                bits_a_sample(head, encoder(batch.inputs), batch, encoder),
                bits_a_sample(head, encoder(blind), batch, encoder),
            )
            for encoder, head in models
        ]
        self.bits.update(torch.stack([torch.stack([own, mean, mean - own], 1) for own, mean in values], dim=1))

    def _without_image(self, inputs: Batch) -> Batch:
        if self.mean is None:
            raise RuntimeError("PretrainingProbe: test it on what its loader() returns, which finds the mean image")
        if inputs.pixels is not None and inputs.pixel_mask is not None:
            return replace(inputs, pixels=with_mean_colour(inputs.pixels, inputs.pixel_mask, self.mean))
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


Heads = tuple[MaskedLanguageModelling | None, ImageTextMatching | None]


@dataclass(frozen=True)
class WrittenHeads:
    """What a checkpoint holds of pre-training heads.

    Args:
        path: of the checkpoint.
        record: what it says of itself; empty for released weights.
        tensors: of its heads, by our names.
    """

    path: Path
    record: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, weights: Path | str | None) -> WrittenHeads:
        """Return the heads of the checkpoint ``weights``.

        Raises:
            NothingToAskError: if it has none.
        """
        if weights is None:
            raise NothingToAskError("probe pretraining asks a model's pre-training heads, and weights=random has none")
        contents = read_contents(Path(weights))
        return cls(Path(weights), contents.record or {}, convert(contents).heads)

    def build(self, encoder: VLEncoder) -> nn.ModuleDict:
        """Return heads as the checkpoint describes them, with random weights.

        Raises:
            NothingToAskError: if it has none.
            ValueError: if it describes anything but heads.
        """
        objective = self.record.get("objective") or _objective_of(encoder.name, self.tensors)
        try:
            heads = _described(objective).build(encoder, self.record.get("num_classes")) if objective else None
        except (ValueError, TypeError) as error:  # of what the record says, where a run's own config would be meant
            raise ValueError(f"{self.path}, record: {error}") from error
        if not heads or not self.tensors:
            expected = "expected a .ckpt of train.py, or released weights with theirs"
            raise NothingToAskError(f"{self.path} has no pre-training heads, which probe pretraining asks; {expected}")
        return heads

    def lacking(self, heads: nn.ModuleDict) -> dict[str, list[str]]:
        """Return, by head, the weights of those of ``heads`` that are not whole in the checkpoint."""
        missing = {
            name: [f"{name}.{key}" for key in head.state_dict() if f"{name}.{key}" not in self.tensors]
            for name, head in heads.items()
        }
        return {name: keys for name, keys in missing.items() if keys}

    def says(self, lacking: Mapping[str, Iterable[str]], encoder: VLEncoder) -> str:
        """Return what is wrong with a checkpoint that is ``lacking`` weights of heads."""
        says = "its record lists" if self.record else f"those of model {encoder.name} have"
        return f"{self.path} lacks pre-training heads that {says}: {', '.join(chain(*lacking.values()))}"


def trained_heads(heads: nn.ModuleDict, written: WrittenHeads) -> Heads:
    """Return the heads of masked words and of matching of a checkpoint, frozen; None for one that is not whole in it.

    Args:
        heads: as `WrittenHeads.build` returns them; they get the checkpoint's weights.
        written: what the checkpoint holds of them.

    Raises:
        ValueError: if it has neither, or they are of other shapes than its record says.
    """
    try:
        heads.load_state_dict(written.tensors, strict=False)
    except RuntimeError as error:  # torch's way of saying that shapes differ
        why = "; ".join(str(error).split("\n\t")[1:])
        raise ValueError(
            f"{written.path} has pre-training heads of other shapes than its record says: {why}"
        ) from error
    return _pick(heads, written)


def random_heads(encoder: VLEncoder, written: WrittenHeads, seed: int) -> Heads:
    """Return heads like those of `trained_heads`, with random weights, frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _pick(written.build(encoder), written)


def _described(objective: Mapping[str, Any]) -> Bundle:
    _check_objective(objective)
    return Bundle.from_config(objective)


def _objective_of(model: str, tensors: Iterable[str]) -> dict[str, Any]:
    """Return what the paper of ``model`` says of the heads that released weights have; empty where they have none."""
    found = {name.partition(".")[0] for name in tensors} & set(ASKED)
    if not found:
        return {}
    parts = {name: part for name, part in read_option("objective", model)["parts"].items() if name in found}
    modules = {
        name: OmegaConf.merge(read_option("objective/part", name), part.get("module") or {})
        for name, part in parts.items()
    }
    described = {name: {**parts[name], "module": OmegaConf.to_container(module)} for name, module in modules.items()}
    return {"combine": "sum", "parts": described} if described else {}


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


def _pick(heads: nn.ModuleDict, written: WrittenHeads) -> Heads:
    heads.requires_grad_(False).eval()
    lacking = written.lacking(heads)
    whole = [head for name, head in heads.items() if name not in lacking]
    words = next((head for head in whole if isinstance(head, MaskedLanguageModelling)), None)
    matching = next((head for head in whole if isinstance(head, ImageTextMatching)), None)
    if words is None and matching is None:
        raise NothingToAskError(
            f"{written.path} has heads {', '.join(heads)}; probe pretraining asks those of {' and '.join(ASKED)}"
        )
    return words, matching


def _matching_rows(accuracy: Estimate, matched: Estimate) -> list[Row]:
    rows = [estimated_row(name, "accuracy", accuracy, i, label="itm") for i, name in enumerate(CONDITIONS)]
    majority = float(max(matched.value, 1 - matched.value))
    return [*rows, Row("majority", "accuracy", majority, int(matched.n), label="itm")]


def _word_rows(bits: Estimate) -> list[Row]:
    places = [(c, i) for c in range(len(CONDITIONS)) for i in range(len(IMAGES))]
    return [
        estimated_row(CONDITIONS[c], "bits", bits, (c, i), label="masked_words", parameter=f"image={IMAGES[i]}")
        for c, i in places
    ]
