"""Released files of every format: nothing missing, nothing unexpected, and no tensor of theirs is silently unused."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.models.checkpoints import released
from tests.models.examples import batch_for
from tests.models.peers import Sizes
from vlp.configs import read_option, resolve
from vlp.data.sample import Batch
from vlp.models import VLEncoder, build, build_from_config, load_weights
from vlp.models.checkpoints.files import Contents
from vlp.models.checkpoints.loading import convert, load_contents, read_heads
from vlp.models.checkpoints.naming import A_BUFFER, A_COPY, NO_OBJECTIVE
from vlp.models.heads import MLMHead, PooledClassifier, RegionClassificationHead

SMALL = {"width": 16, "heads": 2, "feed_forward": 24, "positions": 12, "vocab": 30, "feature_width": 10}
BASE = {"width": 768, "heads": 12, "feed_forward": 3072, "positions": 512, "feature_width": 2048}
UNCASED, CASED = 30522, 28996
WORD_COPY = A_COPY.format("embeddings.text.words.weight")
A_HEAD = NO_OBJECTIVE
PARTS = ("weight", "bias")
UNSEEN = "key.bias"
"""It adds the same to all scores of a query, which a softmax does not see."""
LAYERS = {1: ("layers",), 2: ("text_only_layers", "co_layers"), 3: ("text_layers", "vision_layers", "cross_layers")}


@dataclass(frozen=True)
class Released:
    """A format: who writes its file, for which model, and what of it nothing of ours takes.

    ``count`` is how many tensors the published file of base size has, ``million`` how many parameters, tied ones once,
    to as many digits as are documented; None where nothing is.
    """

    model: str
    write: Callable[..., dict[str, Tensor]]
    layers: tuple[int, ...]
    base_layers: tuple[int, ...]
    million: float | None
    count: int | None = None
    source: str = ""
    vocab: int = UNCASED
    left_out: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, object] = field(default_factory=dict)
    at_small: dict[str, int] = field(default_factory=dict)
    at_base: dict[str, int] = field(default_factory=dict)
    options: dict[str, bool] = field(default_factory=dict)
    keys: dict[str, object] = field(default_factory=dict)

    def build(self) -> VLEncoder:
        """The model, small."""
        own = {key: value for key, value in SMALL.items() if key != "vocab"}
        layers = dict(zip(LAYERS[len(self.layers)], self.layers, strict=True))
        if not self.keys:
            return build(self.model, vocab_size=SMALL["vocab"], **own, **layers, **self.numbers, **self.options)
        size = {**read_option("size", "tiny"), **own, **layers, **self.numbers}
        return build_from_config(self.config(size), own["feature_width"], SMALL["vocab"])

    def config(self, size: dict[str, object]) -> dict[str, object]:
        """Of the model, where keys of its option are set."""
        option = read_option("model", self.model)
        for key, value in self.keys.items():
            group, _, leaf = key.partition(".")
            option[group][leaf] = value
        return resolve({"model": option, "size": size})["model"]


UNITER_REGRESSION = {
    "feat_regress.weight": A_COPY.format("embeddings.features.weight"),
    **{f"feat_regress.{name}": A_HEAD for name in ("bias", "net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias")},
}
LXMERT_HEADS = [
    *(f"obj_predict_head.transform.{name}" for name in ("dense", "LayerNorm")),
    *(f"obj_predict_head.decoder_dict.{name}" for name in ("obj", "attr", "feat")),
    *(f"answer_head.logit_fc.{index}" for index in (0, 2, 3)),
]


def volta(model: str, layers: tuple[int, ...], base_layers: tuple[int, ...], million: float | None, **more) -> Released:
    write = partial(released.volta, model)
    more.setdefault("numbers", {"pooled_width": 20})
    at_base = {"pooled": 1024, "classes": 1601, **more.pop("at_base", {})}
    return Released(model, write, layers, base_layers, million, source="volta", at_base=at_base, **more)


VOLTA_WORDS = {"cls.predictions.decoder.weight": WORD_COPY}
WORD_COPIES = {**VOLTA_WORDS, "cls.predictions.decoder.bias": A_COPY.format("mlm.head.bias")}
ORIGINAL_VILBERT = {"pooled_width": 20, "vision_width": 12, "vision_heads": 2, "vision_feed_forward": 12}
VL_BERT_HEADS = {
    f"cls.imagePredictions.{name}.{part}": A_HEAD
    for name in ("transform.dense", "decoder_dict.6")
    for part in ("weight", "bias")
}
REGION_TARGETS = {
    f"cls.imagePredictions.{name}.{part}": A_HEAD
    for name in ("transform.dense", "transform.LayerNorm", *(f"decoder_dict.{target}" for target in "345"))
    for part in PARTS
}
ANSWERS = {f"cls.qaPredictions.logit_fc.{index}.{part}": A_HEAD for index in (0, 2, 3) for part in PARTS}
FIRST_LXMERT = {
    "embeddings.location_width": 4,
    "embeddings.global_region": None,
    "pooler.fusion": "text",
    "pooler.width": "${size.width}",
}
VILT_SIZES = {"image_size": 12, "longest": None, "patch": 4, "grid": 3, "positions": 12}

FORMATS = {
    "uniter": Released(
        "uniter",
        released.uniter,
        (2,),
        (12,),
        112.94,
        230,
        vocab=CASED,
        left_out={"cls.predictions.decoder.weight": WORD_COPY, **UNITER_REGRESSION},
        at_base={"classes": 1601},
    ),
    "lxmert": Released(
        "lxmert",
        released.lxmert,
        (2, 1, 2),
        (9, 5, 5),
        228.05,
        473,
        left_out={
            "module.cls.predictions.decoder.weight": WORD_COPY,
            **{f"module.{name}.{part}": A_HEAD for name in LXMERT_HEADS for part in PARTS},
        },
        at_base={"classes": 1600, "attributes": 400, "answers": 9500},
    ),
    "transformers_bert": Released(
        "bert",
        partial(released.of_transformers, "bert"),
        (2,),
        (12,),
        None,
        source="huggingface",
        left_out={**WORD_COPIES, **{f"cls.seq_relationship.{part}": A_HEAD for part in PARTS}},
    ),
    "transformers_lxmert": Released(
        "lxmert",
        partial(released.of_transformers, "lxmert"),
        (2, 1, 2),
        (9, 5, 5),
        228.05,
        473,
        source="huggingface",
        left_out={**VOLTA_WORDS, **{f"{name}.{part}": A_HEAD for name in LXMERT_HEADS for part in PARTS}},
        at_base={"answers": 9500},
    ),
    "transformers_visualbert": Released(
        "visualbert",
        partial(released.of_transformers, "visualbert"),
        (2,),
        (12,),
        112.07,
        212,
        source="huggingface",
        left_out=WORD_COPIES,
    ),
    "transformers_vilt": Released(
        "vilt",
        released.vilt_of_transformers,
        (2,),
        (12,),
        None,
        source="huggingface",
        left_out={"mlm_score.decoder.weight": WORD_COPY},
        numbers={"vilt": VILT_SIZES},
        at_base={"patch": 32, "grid": 12, "positions": 40},
    ),
    "visualbert": Released(
        "visualbert",
        released.visualbert,
        (2,),
        (12,),
        112.07,
        211,
        left_out={"bert.cls.predictions.decoder.weight": WORD_COPY},
    ),
    "vilt": Released(
        "vilt",
        released.vilt,
        (2,),
        (12,),
        112.22,
        left_out={"text_embeddings.position_ids": A_BUFFER, "mlm_score.decoder.weight": WORD_COPY},
        numbers={"vilt": VILT_SIZES},
        at_base={"patch": 32, "grid": 12, "positions": 40},
    ),
    "volta_uniter": volta("uniter_ctrl", (2,), (12,), 114.5, left_out=VOLTA_WORDS),
    "volta_visualbert": volta("visualbert_ctrl", (2,), (12,), 114.9, left_out=VOLTA_WORDS),
    "volta_vl_bert": volta("vl_bert_ctrl", (2,), (12,), 116.1, left_out=VOLTA_WORDS),
    "volta_vl_bert_original": volta("vl_bert", (2,), (12,), None, left_out={**VOLTA_WORDS, **VL_BERT_HEADS}),
    "volta_vilbert": volta("vilbert_ctrl", (1, 2), (6, 6), 242, left_out=VOLTA_WORDS),
    "volta_vilbert_original": volta(
        "vilbert",
        (1, 2),
        (6, 6),
        None,
        left_out=VOLTA_WORDS,
        numbers=ORIGINAL_VILBERT,
        at_small={"vision_width": 12},
        at_base={"vision_width": 1024},
    ),
    "volta_lxmert": volta("lxmert_ctrl", (2, 1, 2), (9, 5, 5), 211, left_out=VOLTA_WORDS),
    "volta_lxmert_original": Released(
        "lxmert_ctrl",
        partial(released.volta, "lxmert"),
        (2, 1, 2),
        (9, 5, 5),
        None,
        source="volta",
        left_out={**VOLTA_WORDS, **REGION_TARGETS},
        at_small={"pooled": 16},
        at_base={"pooled": 768, "classes": 1600, "attributes": 400},
        keys={**FIRST_LXMERT, "pooler.activation": "relu"},
    ),
    "volta_lxmert_released": Released(
        "lxmert_ctrl",
        partial(released.volta, "lxmert_released"),
        (2, 1, 2),
        (9, 5, 5),
        228.05,
        source="volta",
        left_out={**VOLTA_WORDS, **REGION_TARGETS, **ANSWERS},
        at_small={"pooled": 16},
        at_base={"pooled": 768, "classes": 1600, "attributes": 400, "answers": 9500},
        keys={**FIRST_LXMERT, "pooler.activation": "tanh"},
    ),
}


def small(name: str) -> tuple[Contents, VLEncoder]:
    known = FORMATS[name]
    torch.manual_seed(5)
    return Contents(Path(f"{name}.pt"), known.write(Sizes(known.layers, **SMALL), **known.at_small)), known.build()


def left_out(name: str, tensors: dict[str, Tensor]) -> dict[str, str]:
    """What of a file nothing of ours takes; of VOLTA's shared sub-layers the second time."""
    twice = {
        key: A_COPY.format(key.replace(".v_", "."))
        for key in tensors
        if ".v_" in key and tensors.get(key.replace(".v_", ".")) is tensors[key]
    }
    return {**FORMATS[name].left_out, **twice}


def batch_of(encoder: VLEncoder) -> Batch:
    """Captions with both segments; regions of which one is masked, or pixels."""
    batch = batch_for(encoder, lengths=(10, 4, 5))
    batch.input_ids.remainder_(encoder.vocab_size)
    batch.token_types[:, 2:] = 1
    if batch.region_mask is None:
        return batch
    masked = torch.zeros_like(batch.region_mask)
    masked[0, 1] = True
    return replace(batch, masked_regions=masked)


class Heads(nn.Module):
    """The heads of a file, as our objectives have them."""

    def __init__(self, encoder: VLEncoder, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        made = {"mlm": MLMHead(encoder.width, encoder.vocab_size)}
        if "itm.head.dense.weight" in tensors:
            made["itm"] = PooledClassifier(encoder.pooled_width, 2)
        if (decoder := tensors.get("mrc_kl.head.decoder.weight")) is not None:
            has_norm = "mrc_kl.head.transform.norm.weight" in tensors
            made["mrc_kl"] = RegionClassificationHead(encoder.vision_width, len(decoder), has_norm)
        self.parts = nn.ModuleDict({name: nn.ModuleDict({"head": head}) for name, head in made.items()})
        self.parts.load_state_dict(tensors)

    def forward(self, encoder: VLEncoder, batch: Batch) -> list[Tensor]:
        """Everything that the model says: states, pooled state, logits."""
        encoding = encoder(batch)
        said = [part for part in (encoding.text, encoding.vision, encoding.pooled) if part is not None]
        said.append(self.parts["mlm"]["head"](encoding.text, encoder.word_embeddings.weight))
        if "itm" in self.parts:
            said.append(self.parts["itm"]["head"](encoding.pooled))
        if "mrc_kl" in self.parts:
            said.append(self.parts["mrc_kl"]["head"](encoding.vision))
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
    assert (report.missing, report.unexpected, report.source) == ((), (), FORMATS[name].source or name)
    assert report.left_out == left_out(name, contents.tensors)
    assert set(read_heads(tmp_path / "file")) == set(report.heads)


@pytest.mark.parametrize("name", FORMATS)
def test_every_tensor_is_an_encoders_a_heads_or_told_of(name):
    contents, encoder = small(name)
    found = convert(contents)
    files = set(found.original.values()) | set(found.left_out)
    assert files | set(found.head_names.values()) == set(contents.tensors)
    assert set(found.tensors) == set(encoder.state_dict())
    assert found.model == FORMATS[name].model


@pytest.mark.parametrize("name", FORMATS)
def test_changing_any_tensor_changes_what_the_model_says(name):
    contents, encoder = small(name)
    batch = batch_of(encoder)
    before = answers(contents, encoder, batch)
    silent = []
    for key in contents.tensors.keys() - left_out(name, contents.tensors).keys():
        tensor = contents.tensors[key]
        changed = {k: v * 1.5 if v is tensor else v for k, v in contents.tensors.items()}  # copies as well
        after = answers(Contents(contents.path, changed), encoder, batch)
        if all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
            silent.append(key)
    assert [key for key in silent if not key.endswith(UNSEEN)] == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_copy_that_differs_is_unexpected(name):
    contents, encoder = small(name)
    key = next(key for key in contents.tensors if key.endswith((".predictions.decoder.weight", "score.decoder.weight")))
    changed = Contents(contents.path, {**contents.tensors, key: contents.tensors[key] + 1})
    assert load_contents(encoder, changed, strict=False).unexpected == (key,)
    with pytest.raises(ValueError) as error:
        load_contents(encoder, changed)
    assert f"0 missing, 1 unexpected ({key})" in str(error.value)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (1, 1, 1)])
def test_tensors_of_any_shape_are_refused_by_name_and_change_nothing(name, shape):
    contents, encoder = small(name)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    strange = Contents(contents.path, {key: torch.zeros(shape) for key in contents.tensors})
    with pytest.raises(ValueError) as error:
        load_contents(encoder, strange, strict=False)
    assert f"in {contents.path} and" in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_another_size_names_the_right_one(name):
    known, (_, encoder) = FORMATS[name], small(name)
    tensors = known.write(Sizes(known.layers, **{**SMALL, "width": 256}), **known.at_small)
    with pytest.raises(ValueError) as error:
        load_contents(encoder, Contents(Path("file"), tensors))
    assert str(error.value).endswith(": the file's width is 256, as in size=small")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_that_is_cut_short_or_holds_code_says_so(name, is_zip, tmp_path, monkeypatch):
    contents, encoder = small(name)
    monkeypatch.chdir(tmp_path)
    torch.save(contents.tensors, "whole", _use_new_zipfile_serialization=is_zip)
    content = Path("whole").read_bytes()
    Path("cut").write_bytes(content[: len(content) * 2 // 3])
    torch.save({**contents.tensors, "more": MakesFolder()}, "hostile", _use_new_zipfile_serialization=is_zip)
    for file, message in (("cut", "cut is cut short"), ("hostile", "hostile holds no plain tensors, or objects that")):
        with pytest.raises(ValueError) as error:
            load_weights(encoder, file)
        assert str(error.value).startswith(message)
    assert not Path("ran").exists()


class MakesFolder:
    """Unpickling it would make a folder."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_at_base_size_counts_are_the_documented_ones_and_every_tensor_has_a_gradient(name, tmp_path):
    known = FORMATS[name]
    at_base = dict(known.at_base)
    numbers = {**BASE, "positions": at_base.pop("positions", BASE["positions"])}
    tensors = known.write(Sizes(known.base_layers, vocab=known.vocab, **numbers), **at_base)
    torch.save(tensors, tmp_path / "file")
    encoder = build(known.model, size="base", **known.options)
    if known.keys:
        encoder = build_from_config(known.config(read_option("size", "base")))
    report = load_weights(encoder, tmp_path / "file")
    assert (report.missing, report.unexpected, report.left_out) == ((), (), left_out(name, tensors))
    assert known.count in (None, len(tensors))
    storages = {tensor.data_ptr(): tensor.numel() for tensor in tensors.values() if tensor.is_floating_point()}
    if known.million is not None:
        digits = len(str(known.million).partition(".")[2])
        assert round(sum(storages.values()) / 1e6, digits) == known.million
    heads = Heads(encoder, read_heads(tmp_path / "file"))
    said = heads(encoder, batch_of(encoder))
    sum((part * torch.randn_like(part)).sum() for part in said).backward()
    parameters = {**dict(encoder.named_parameters()), **dict(heads.named_parameters())}
    silent = [key for key, parameter in parameters.items() if not parameter.grad.any()]
    assert [key for key in silent if not key.endswith(UNSEEN)] == []


class TestVolta:
    def test_in_cross_attention_the_asking_stream_has_the_keys_of_the_other(self):
        contents, encoder = small("volta_vilbert")
        load_contents(encoder, contents)
        first = encoder.stack.cross_layers[0]
        at = "bert.encoder.layer.2.attention_self."
        for ours, theirs in (
            (first.text_attention.query, "query"),
            (first.text_attention.key, "v_key"),
            (first.text_attention.value, "v_value"),
            (first.vision_attention.query, "v_query"),
            (first.vision_attention.key, "key"),
            (first.vision_attention.value, "value"),
        ):
            assert torch.equal(ours.weight, contents.tensors[f"{at}{theirs}.weight"])

    def test_matched_is_class_1_where_the_file_has_it_first(self):
        contents, _ = small("volta_uniter")
        heads = convert(contents).heads
        for part in ("weight", "bias"):
            theirs = contents.tensors[f"cls.bi_seq_relationship.{part}"]
            assert torch.equal(heads[f"itm.head.dense.{part}"], theirs.flip(0))

    def test_a_shared_sub_layer_whose_copies_differ_is_refused(self):
        contents, encoder = small("volta_uniter")
        key = "bert.encoder.layer.0.attention_self.v_key.weight"
        changed = Contents(contents.path, {**contents.tensors, key: contents.tensors[key] + 1})
        with pytest.raises(ValueError) as error:
            load_contents(encoder, changed)
        assert f"0 missing, 1 unexpected ({key})" in str(error.value)

    def test_a_visual_copy_of_nothing_is_unexpected_and_fills_no_place(self):
        contents, encoder = small("volta_uniter")
        tensors = dict(contents.tensors)
        del tensors["bert.encoder.layer.0.attention_self.key.weight"]
        report = load_contents(encoder, Contents(contents.path, tensors), strict=False)
        assert report.missing == ("stack.layers.0.attention.key.weight",)
        assert report.unexpected == ("bert.encoder.layer.0.attention_self.v_key.weight",)

    def test_lxmert_as_first_presented_says_how_to_build_the_model(self):
        contents, _ = small("volta_lxmert_original")
        with pytest.raises(ValueError) as error:
            load_contents(FORMATS["volta_lxmert"].build(), contents)
        assert str(error.value) == (
            "embeddings.location.weight is (16, 4) in volta_lxmert_original.pt and (16, 5) in model 'lxmert_ctrl': "
            "build the model with model=lxmert_ctrl model.embeddings.location_width=4 "
            "model.embeddings.global_region=null model.pooler.fusion=text model.pooler.activation=relu "
            "model.pooler.width=16"
        )

    def test_lxmerts_release_in_voltas_names_says_what_it_says_in_its_own(self):
        theirs, encoder = small("volta_lxmert_released")
        heads, expected = convert(theirs).heads, theirs.tensors
        assert torch.equal(heads["itm.head.dense.bias"], expected["cls.bi_seq_relationship.bias"])  # class 1: matched
        load_contents(encoder, theirs)
        batch = batch_of(encoder)
        encoding = encoder(batch)
        assert encoding.vision.shape[1] == batch.region_mask.shape[1]
        pooled = encoding.text[:, 0] @ expected["bert.t_pooler.dense.weight"].T + expected["bert.t_pooler.dense.bias"]
        torch.testing.assert_close(encoding.pooled, pooled.tanh())

    def test_the_released_vl_bert_is_followed_by_a_model_that_was_told_nothing(self, caplog):
        contents, encoder = small("volta_vl_bert")
        assert not encoder.released_behaviour
        load_contents(encoder, contents)
        assert encoder.released_behaviour
        assert caplog.records == []
        told = replace(FORMATS["volta_vl_bert"], options={"released_behaviour": True}).build()
        load_contents(told, contents)
        batch = batch_of(encoder)
        assert torch.equal(encoder(batch).text, told(batch).text)

    def test_the_released_vl_bert_warns_a_model_that_was_told_to_do_right(self, caplog):
        contents, followed = small("volta_vl_bert")
        load_contents(followed, contents)
        right = replace(FORMATS["volta_vl_bert"], options={"released_behaviour": False}).build()
        load_contents(right, contents)
        assert not right.released_behaviour
        assert [record.getMessage() for record in caplog.records] == [
            "volta_vl_bert.pt (VOLTA's vl_bert_ctrl) was trained with released_behaviour=true and model 'vl_bert_ctrl' "
            "was told to have it false: its outputs are not those of the trained model; "
            "model.released_behaviour=null follows the weights"
        ]
        batch = batch_of(right)
        assert not torch.allclose(right(batch).text, followed(batch).text)

    @pytest.mark.parametrize("name", ["volta_visualbert", "volta_uniter"])
    @pytest.mark.parametrize("other", ["uniter", "bert"])
    def test_a_model_that_the_file_is_not_of_is_told_so(self, name, other):
        contents, encoder = small(name)
        numbers = {key: SMALL[key] for key in ("width", "heads", "feed_forward", "positions")}
        model = build(other, vocab_size=SMALL["vocab"], feature_width=SMALL["feature_width"], layers=2, **numbers)
        with pytest.raises(ValueError) as error:
            load_contents(model, contents)
        told = f": the file is of another model, '{encoder.name}' (model={encoder.name} for commands)"
        assert str(error.value).endswith(told)

    def test_a_part_of_the_released_vl_bert_changes_nothing_that_the_model_does(self):
        contents, encoder = small("volta_vl_bert")
        load_contents(encoder, contents, part="embeddings.text")
        assert not encoder.released_behaviour

    def test_the_segments_that_newer_code_writes_twice_are_known(self):
        contents, encoder = small("volta_uniter")
        table = "bert.embeddings.token_type_embeddings.weight"
        twin = "bert.embeddings.image_token_type_embeddings.weight"
        tensors = {**contents.tensors, twin: contents.tensors[table]}
        assert load_contents(encoder, Contents(contents.path, tensors)).left_out[twin] == A_COPY.format(table)


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

    def test_positions_and_pooled_width_say_how_to_build_the_model(self):
        contents, encoder = small("volta_uniter")
        sizes = Sizes((2,), **{**SMALL, "positions": 14})
        for write, advice in (
            (lambda: released.volta("uniter_ctrl", sizes), "model.embeddings.positions=14"),
            (lambda: released.volta("uniter_ctrl", Sizes((2,), **SMALL), pooled=24), "model.pooler.width=24"),
        ):
            with pytest.raises(ValueError) as error:
                load_contents(encoder, Contents(contents.path, write()))
            assert str(error.value).endswith(f"in model 'uniter_ctrl': build the model with {advice}")

    def test_a_fine_tuned_models_head_is_left_out(self):
        contents, encoder = small("uniter")
        tuned = {key: value for key, value in contents.tensors.items() if key.startswith("uniter.")}
        head = {f"vqa_output.{index}.{part}": torch.zeros(2) for index in (0, 2, 3) for part in PARTS}
        report = load_contents(encoder, Contents(contents.path, {**tuned, **head}))
        assert report.left_out == dict.fromkeys(head, A_HEAD)

    def test_a_fine_tuned_lxmert_is_known_inside_its_wrapper(self):
        contents, encoder = small("lxmert")
        start = "module.bert."
        tuned = {
            f"module.lxrt_encoder.model.{key.removeprefix('module.')}": value
            for key, value in contents.tensors.items()
            if key.startswith(start)
        }
        head = {f"module.logit_fc.{index}.{part}": torch.zeros(2) for index in (0, 2, 3) for part in PARTS}
        report = load_contents(encoder, Contents(contents.path, {**tuned, **head}))
        assert report.left_out == dict.fromkeys(head, A_HEAD)

    @pytest.mark.parametrize(
        ("name", "strange"),
        [
            ("uniter", "cls.seq_relationship.weight"),
            ("uniter", "region_classifier.net.4.weight"),
            ("uniter", "attention.weight"),
            ("lxmert", "module.answer_head.logit_fc.4.weight"),
            ("lxmert", "module.obj_predict_head.decoder_dict.more.weight"),
            ("visualbert", "bert.cls.predictions.more.weight"),
            ("visualbert", "bert.classifier.2.weight"),
            ("vilt", "mlm_score.more.weight"),
            ("vilt", "vqa_classifier.2.weight"),
            ("volta_uniter", "cls.imagePredictions.decoder_dict.7.weight"),
            ("volta_uniter", "clfs_dict.weight"),
            ("transformers_bert", "cls.more.weight"),
            ("transformers_lxmert", "classifier.weight"),
            ("transformers_visualbert", "attention.more.weight"),
            ("transformers_vilt", "classifier.2.weight"),
        ],
    )
    def test_a_name_beside_a_heads_is_unexpected(self, name, strange):
        contents, encoder = small(name)
        pair = {strange: torch.zeros(2), strange.replace(".weight", ".bias"): torch.zeros(2)}
        report = load_contents(encoder, Contents(contents.path, {**contents.tensors, **pair}), strict=False)
        assert report.unexpected == tuple(sorted(pair))

    @pytest.mark.parametrize("name", FORMATS)
    def test_half_a_head_is_unexpected(self, name):
        contents, encoder = small(name)
        found = convert(contents)
        whole = {*found.head_names.values(), *(key for key, why in found.left_out.items() if why == A_HEAD)}
        for half in sorted(key for key in whole if key.endswith(".weight")):
            other = half.replace(".weight", ".bias")
            if half == "feat_regress.weight":  # a copy, and told so
                continue
            tensors = {key: value for key, value in contents.tensors.items() if key != other}
            assert load_contents(encoder, Contents(contents.path, tensors), strict=False).unexpected == (half,)

    @pytest.mark.parametrize(
        "twin",
        [
            "module.uniter.pooler.dense.bias",
            "uniter.encoder.layer.0.attention.query.weight",
            "uniter.encoder.layer.0.attention.output.LayerNorm.gamma",
        ],
    )
    def test_of_two_tensors_for_one_place_the_second_is_unexpected(self, twin):
        contents, encoder = small("uniter")
        doubled = Contents(contents.path, {**contents.tensors, twin: torch.zeros(2)})
        assert load_contents(encoder, doubled, strict=False).unexpected == (twin,)

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
    for name in ("uniter", "lxmert", "visualbert", "transformers_lxmert", "transformers_visualbert"):
        contents, _ = small(name)
        (key,) = [key for key in contents.tensors if key.endswith(("itm_output.bias", "seq_relationship.bias"))]
        assert torch.equal(convert(contents).heads["itm.head.dense.bias"], contents.tensors[key])
