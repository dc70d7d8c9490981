"""Released files of every format: nothing missing, nothing unexpected, and no tensor of theirs is silently unused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.models.checkpoints import released
from tests.models.examples import random_batch
from tests.models.peers import Sizes
from vlp.data.sample import Batch
from vlp.models import VLEncoder, build, load_weights
from vlp.models.checkpoints.files import Contents
from vlp.models.checkpoints.loading import convert, load_contents, read_heads
from vlp.models.checkpoints.naming import A_COPY, NO_OBJECTIVE
from vlp.models.heads import MLMHead, PooledClassifier, RegionClassificationHead

SMALL = {"width": 16, "heads": 2, "feed_forward": 24, "positions": 12, "vocab": 30, "feature_width": 10}
BASE = {"width": 768, "heads": 12, "feed_forward": 3072, "positions": 512, "feature_width": 2048}
WORD_COPY = A_COPY.format("embeddings.text.words.weight")
A_HEAD = NO_OBJECTIVE
UNSEEN = "key.bias"
"""It adds the same to all scores of a query, which a softmax does not see."""


@dataclass(frozen=True)
class Released:
    """A format: who writes its file, for which model, and what of it nothing of ours takes.

    ``count`` is how many tensors the published file of base size has, ``million`` how many parameters, tied ones once.
    """

    model: str
    write: Callable[..., dict[str, Tensor]]
    layers: tuple[int, ...]
    base_layers: tuple[int, ...]
    vocab: int
    count: int
    million: float
    left_out: dict[str, str] = field(default_factory=dict)
    at_base: dict[str, int] = field(default_factory=dict)


UNITER_REGRESSION = {
    "feat_regress.weight": A_COPY.format("embeddings.features.weight"),
    **{f"feat_regress.{name}": A_HEAD for name in ("bias", "net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias")},
}
LXMERT_HEADS = [
    *(f"obj_predict_head.transform.{name}" for name in ("dense", "LayerNorm")),
    *(f"obj_predict_head.decoder_dict.{name}" for name in ("obj", "attr", "feat")),
    *(f"answer_head.logit_fc.{index}" for index in (0, 2, 3)),
]
FORMATS = {
    "uniter": Released(
        "uniter",
        released.uniter,
        (2,),
        (12,),
        28996,
        230,
        112.94,
        {"cls.predictions.decoder.weight": WORD_COPY, **UNITER_REGRESSION},
        {"classes": 1601},
    ),
    "lxmert": Released(
        "lxmert",
        released.lxmert,
        (2, 1, 2),
        (9, 5, 5),
        30522,
        473,
        228.05,
        {
            "module.cls.predictions.decoder.weight": WORD_COPY,
            **{f"module.{name}.{part}": A_HEAD for name in LXMERT_HEADS for part in ("weight", "bias")},
        },
        {"classes": 1600, "attributes": 400, "answers": 9500},
    ),
    "visualbert": Released(
        "visualbert",
        released.visualbert,
        (2,),
        (12,),
        30522,
        211,
        112.07,
        {"bert.cls.predictions.decoder.weight": WORD_COPY},
    ),
}


def small(name: str) -> tuple[Contents, VLEncoder]:
    known = FORMATS[name]
    sizes = Sizes(known.layers, **SMALL)
    torch.manual_seed(5)
    return Contents(Path(f"{name}.pt"), known.write(sizes)), build(known.model, **sizes.ours())


def batch_of(encoder: VLEncoder) -> Batch:
    """Captions that use every position and both segments, with a masked region."""
    batch = random_batch(lengths=(12, 4), regions=(5, 2), feature_width=encoder.feature_width)
    batch.input_ids.remainder_(encoder.vocab_size)
    batch.token_types[:, 2:] = 1
    masked = torch.zeros_like(batch.region_mask)
    masked[0, 1] = True
    return Batch(**{**vars(batch), "masked_regions": masked})


class Heads(nn.Module):
    """The heads of a file, as our objectives have them."""

    def __init__(self, encoder: VLEncoder, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        width = encoder.pooler.dense.out_features
        self.parts = nn.ModuleDict({"mlm": nn.Module(), "itm": nn.Module()})
        self.parts["mlm"].head = MLMHead(encoder.width, encoder.vocab_size)
        self.parts["itm"].head = PooledClassifier(width, 2)
        if "mrc_kl.head.decoder.weight" in tensors:
            self.parts["mrc_kl"] = nn.Module()
            classes = len(tensors["mrc_kl.head.decoder.weight"])
            self.parts["mrc_kl"].head = RegionClassificationHead(encoder.width, classes)
        self.parts.load_state_dict(tensors)

    def forward(self, encoder: VLEncoder, batch: Batch) -> list[Tensor]:
        """Everything that the model says: states, pooled state, logits."""
        encoding = encoder(batch)
        said = [encoding.text, encoding.vision, encoding.pooled]
        said.append(self.parts["mlm"].head(encoding.text, encoder.word_embeddings.weight))
        said.append(self.parts["itm"].head(encoding.pooled))
        if "mrc_kl" in self.parts:
            said.append(self.parts["mrc_kl"].head(encoding.vision))
        return said


def answers(contents: Contents, encoder: VLEncoder, batch: Batch) -> list[Tensor]:
    load_contents(encoder, contents)
    with torch.no_grad():
        return Heads(encoder, convert(contents).heads)(encoder, batch)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_released_file_loads_with_nothing_missing_or_unexpected(name, is_zip, tmp_path):
    contents, encoder = small(name)
    torch.save(contents.tensors, tmp_path / "file", _use_new_zipfile_serialization=is_zip)
    report = load_weights(encoder, tmp_path / "file")
    assert (report.missing, report.unexpected, report.source) == ((), (), name)
    assert report.left_out == FORMATS[name].left_out
    assert set(read_heads(tmp_path / "file")) == set(report.heads)


@pytest.mark.parametrize("name", FORMATS)
def test_every_tensor_is_an_encoders_a_heads_or_told_of(name):
    contents, encoder = small(name)
    found = convert(contents)
    assert len(found.tensors) + len(found.heads) + len(found.left_out) == len(contents.tensors)
    assert set(found.tensors) == set(encoder.state_dict())
    assert found.model == FORMATS[name].model


@pytest.mark.parametrize("name", FORMATS)
def test_changing_any_tensor_changes_what_the_model_says(name):
    contents, encoder = small(name)
    batch = batch_of(encoder)
    before = answers(contents, encoder, batch)
    silent = []
    for key in contents.tensors.keys() - FORMATS[name].left_out.keys():
        changed = {**contents.tensors, key: contents.tensors[key] * 1.5}
        changed = {k: changed[key] if v is contents.tensors[key] else v for k, v in changed.items()}  # copies as well
        after = answers(Contents(contents.path, changed), encoder, batch)
        if all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
            silent.append(key)
    assert [key for key in silent if not key.endswith(UNSEEN)] == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_copy_that_differs_is_unexpected(name):
    contents, encoder = small(name)
    key = next(key for key in contents.tensors if key.endswith("cls.predictions.decoder.weight"))
    changed = Contents(contents.path, {**contents.tensors, key: contents.tensors[key] + 1})
    assert load_contents(encoder, changed, strict=False).unexpected == (key,)
    with pytest.raises(ValueError) as error:
        load_contents(encoder, changed)
    assert f"0 missing, 1 unexpected ({key})" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_at_base_size_counts_are_the_published_ones_and_every_tensor_has_a_gradient(name, tmp_path):
    known = FORMATS[name]
    sizes = Sizes(known.base_layers, vocab=known.vocab, **BASE)
    tensors = known.write(sizes, **known.at_base)
    torch.save(tensors, tmp_path / "file")
    encoder = build(known.model, size="base")
    report = load_weights(encoder, tmp_path / "file")
    assert (report.missing, report.unexpected, report.left_out) == ((), (), known.left_out)
    assert len(tensors) == known.count
    storages = {tensor.data_ptr(): tensor.numel() for tensor in tensors.values()}
    assert round(sum(storages.values()) / 1e6, 2) == known.million
    heads = Heads(encoder, read_heads(tmp_path / "file"))
    said = heads(encoder, batch_of(encoder))
    sum((part * torch.randn_like(part)).sum() for part in said).backward()
    parameters = {**dict(encoder.named_parameters()), **dict(heads.named_parameters())}
    silent = [key for key, parameter in parameters.items() if not parameter.grad.any()]
    assert [key for key in silent if not key.endswith(UNSEEN)] == []


class TestVariants:
    def test_visualbert_of_mmf_is_known_behind_its_own_prefix(self):
        sizes = Sizes((2,), **SMALL)
        original = Contents(Path("coco.th"), released.visualbert(sizes))
        theirs = Contents(Path("mmf.pth"), {**released.visualbert(sizes, "model.")})
        found, expected = convert(theirs), convert(original)
        assert found.source == "visualbert"
        assert all(torch.equal(found.tensors[key], value) for key, value in expected.tensors.items())
        assert found.heads.keys() == expected.heads.keys()

    def test_uniters_mask_vector_is_row_1(self):
        contents, encoder = small("uniter")
        load_contents(encoder, contents)
        rows = contents.tensors["uniter.img_embeddings.mask_embedding.weight"]
        assert torch.equal(encoder.embeddings.masked_feature.weight, rows[1:])

    def test_uniter_of_three_segments_says_how_to_build_the_model(self):
        contents, encoder = small("uniter")
        key = "uniter.embeddings.token_type_embeddings.weight"
        wide = Contents(contents.path, {**contents.tensors, key: torch.zeros(3, SMALL["width"])})
        with pytest.raises(ValueError) as error:
            load_contents(encoder, wide)
        assert str(error.value) == (
            "embeddings.text.types.weight is (3, 16) in uniter.pt and (2, 16) in model 'uniter': "
            "build the model with model.embeddings.types=3"
        )

    def test_a_fine_tuned_models_head_is_left_out(self):
        contents, encoder = small("uniter")
        tuned = {key: value for key, value in contents.tensors.items() if key.startswith("uniter.")}
        tuned["vqa_output.0.weight"] = torch.zeros(2)
        report = load_contents(encoder, Contents(contents.path, tuned))
        assert report.left_out == {"vqa_output.0.weight": A_HEAD}

    def test_a_name_that_nobody_documented_is_unexpected(self):
        contents, encoder = small("uniter")
        report = load_contents(
            encoder, Contents(contents.path, {**contents.tensors, "strange.weight": torch.zeros(2)}), strict=False
        )
        assert report.unexpected == ("strange.weight",)

    def test_old_norm_names_are_understood(self):
        contents, encoder = small("uniter")
        old = {
            key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
            for key, value in contents.tensors.items()
        }
        assert load_contents(encoder, Contents(contents.path, old)).missing == ()


def test_a_matching_head_says_matched_with_class_1():
    for name in ("uniter", "lxmert", "visualbert"):
        contents, _ = small(name)
        (key,) = [key for key in contents.tensors if key.endswith(("itm_output.bias", "seq_relationship.bias"))]
        assert torch.equal(convert(contents).heads["itm.head.dense.bias"], contents.tensors[key])
