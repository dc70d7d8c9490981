"""VOLTA's weights (``pytorch_model_N.bin``): the controlled models, and ViLBERT and VL-BERT as first presented.

Bugliarello et al., TACL 2021, arXiv:2011.15124, released code. A model there is a list of sub-layers, each attention or
feed-forward, each with weights of text and, behind ``v_``, of vision; where both streams share a sub-layer the file has
its weights twice. LXMERT as first presented is ``lxmert_ctrl`` with other keys, which its conversion lists; LXMERT's
own release in VOLTA's names differs from that in its pooler, and in its matching head, whose class 1 is "matched".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vlp.models.checkpoints import visualbert
from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents
from vlp.models.checkpoints.naming import A_COPY, TEXT, WORD_COPIES, WORD_HEAD, Naming, Renames, plain_names, same

SUBLAYER = re.compile(
    r"^bert\.encoder\.layer\.(\d+)\.(attention_self|attention_output|intermediate|output)\.(v_)?(\w+)\.(weight|bias)$"
)
OURS = {
    ("attention_self", "query"): "query",
    ("attention_self", "key"): "key",
    ("attention_self", "value"): "value",
    ("attention_output", "dense"): "output",
    ("attention_output", "LayerNorm"): "norm",
    ("intermediate", "dense"): "expand",
    ("output", "dense"): "contract",
    ("output", "LayerNorm"): "norm",
}
MARKER = "encoder.layer.0.attention_self.query.weight"

DUAL: Renames = (
    ("v_embeddings.image_embeddings.", "embeddings.features."),
    ("v_embeddings.image_location_embeddings.", "embeddings.location."),
    ("v_embeddings.ImgLayerNorm.", "embeddings.features_norm."),
    ("v_embeddings.LocLayerNorm.", "embeddings.location_norm."),
    ("v_embeddings.LayerNorm.", "embeddings.norm."),
)
UNITER: Renames = (
    ("embeddings.image_embeddings.", "embeddings.features."),
    ("embeddings.image_location_embeddings.", "embeddings.location."),
    ("embeddings.image_layer_norm.", "embeddings.features_norm."),
    ("embeddings.image_location_layer_norm.", "embeddings.location_norm."),
    ("embeddings.v_LayerNorm.", "embeddings.norm."),
)
VL_BERT: Renames = (
    ("embeddings.obj_downsample.1.", "embeddings.look.1."),
    ("embeddings.visual_ln_object.", "embeddings.look_norm."),
    ("embeddings.visual_ln_text.", "embeddings.text_look_norm."),
    ("embeddings.object_linguistic_embeddings.", "embeddings.region_word."),
    ("embeddings.end_embedding.", "embeddings.end_word."),
    ("embeddings.object_mask_word_embedding.", "embeddings.masked_word."),
    ("embeddings.object_mask_visual_embedding.", "embeddings.masked_feature."),
)
POOLERS: Renames = (("t_pooler.dense.", "pooler.text."), ("v_pooler.dense.", "pooler.vision."))

MATCHING: Renames = (("cls.bi_seq_relationship.", "itm.head.dense."),)
CLASSES = "cls.imagePredictions.decoder_dict.0.weight"
"""The head of the detector's distribution over 1601 classes, background first; others have other targets."""
REGION_HEAD: Renames = (
    ("cls.imagePredictions.transform.dense.", "mrc_kl.head.transform.dense."),
    ("cls.imagePredictions.transform.LayerNorm.", "mrc_kl.head.transform.norm."),
    ("cls.imagePredictions.decoder_dict.0.", "mrc_kl.head.decoder."),
)
OTHER_HEADS = (
    r"cls\.imagePredictions\.(transform\.dense|transform\.LayerNorm|decoder_dict\.[0-6])\.",
    r"cls\.qaPredictions\.logit_fc\.[023]\.",
    r"clfs_dict\.TASK\d+\.(logit_fc\.[023]\.|[03]\.)?",
)
"""Other targets of regions, answers, and tasks of fine-tuned models."""
ANSWERS = "cls.qaPredictions.logit_fc.0.weight"
"""Only LXMERT's own release, in VOLTA's names, answers questions."""
SEGMENT_COPY = "bert.embeddings.image_token_type_embeddings.weight"
"""UNITER's, in files of newer code: the segment table once more."""


def swapped(classes: Tensor) -> Tensor:
    """Return the rows of a matching head with "matched" last: VOLTA has it first."""
    return classes.flip(0) if classes.ndim else classes


@dataclass(frozen=True)
class Place:
    """Where our stack has a sub-layer: of text and of vision, the same where they share it.

    ``crosses`` says that each stream asks and the other one is read: VOLTA keeps keys and values with the stream they
    are made of, we with the one that asks.
    """

    text: str
    vision: str
    crosses: bool = False

    def name(self, leaf: str, is_vision: bool) -> str:
        """Return our name of a weight."""
        is_others = self.crosses and leaf in ("key", "value")
        return f"stack.{self.vision if is_vision != is_others else self.text}.{leaf}"


Layout = Callable[[int, str], Place]
"""The place of sub-layer s, which is ``attention`` or ``feed_forward``."""


@dataclass(frozen=True)
class Kind:
    """An architecture of VOLTA's: how it is told, its embedding's names, and how its sub-layers lie in our stack."""

    model: str
    marker: str
    renames: Renames
    layout: Callable[[Mapping[str, str]], Layout]


def single_stream(names: Mapping[str, str]) -> Layout:
    """Layer i is sub-layers 2i and 2i + 1, all of them shared."""
    return lambda index, part: Place(f"layers.{index // 2}.{part}", f"layers.{index // 2}.{part}")


def vilbert(names: Mapping[str, str]) -> Layout:
    """Layers of text, then by fours: cross attention, feed-forward, self attention, feed-forward."""
    entry = min((s for s in attention_sublayers(names) if has(names, s, "v_query")), default=0)

    def place(index: int, part: str) -> Place:
        layer, step = divmod(index - entry, 4)
        if layer < 0:
            return Place(f"text_layers.{index // 2}.{part}", f"vision_layers.{index // 2}.{part}")
        joint = "_" if step < 2 else "."
        text, vision = (f"cross_layers.{layer}.{stream}{joint}{part}" for stream in ("text", "vision"))
        return Place(text, vision, crosses=step == 0)

    return place


def lxmert(names: Mapping[str, str]) -> Layout:
    """Layers of either stream, then by threes: shared cross attention, self attention, feed-forward."""
    attending = attention_sublayers(names)
    entry = min((s for s in attending if s + 1 in attending), default=0)

    def place(index: int, part: str) -> Place:
        layer, step = divmod(index - entry, 3)
        if layer < 0:
            return Place(f"text_layers.{index // 2}.{part}", f"vision_layers.{index // 2}.{part}")
        if step == 0:
            return Place(f"cross_layers.{layer}.cross_{part}", f"cross_layers.{layer}.cross_{part}")
        return Place(f"cross_layers.{layer}.text.{part}", f"cross_layers.{layer}.vision.{part}")

    return place


def attention_sublayers(names: Mapping[str, str]) -> set[int]:
    """Return the numbers of the sub-layers that attend."""
    found = (SUBLAYER.match(name) for name in names)
    return {int(parts[1]) for parts in found if parts and parts[2] == "attention_self"}


def has(names: Mapping[str, str], index: int, projection: str) -> bool:
    """Whether attention sub-layer ``index`` has a projection."""
    return f"bert.encoder.layer.{index}.attention_self.{projection}.weight" in names


KINDS = (
    Kind("lxmert_ctrl", "v_embeddings.ImgLayerNorm.weight", DUAL, lxmert),
    Kind("vilbert_ctrl", "v_embeddings.LayerNorm.weight", DUAL, vilbert),
    Kind("uniter_ctrl", "embeddings.image_layer_norm.weight", UNITER, single_stream),
    Kind("visualbert_ctrl", "embeddings.token_type_embeddings_visual.weight", visualbert.REGIONS, single_stream),
    Kind("vl_bert", "embeddings.object_mask_word_embedding.weight", VL_BERT, single_stream),
    Kind("vl_bert_ctrl", "embeddings.obj_downsample.1.weight", VL_BERT, single_stream),
)


def convert(contents: Contents) -> Conversion | None:
    """Return what the file holds by our names if it is one of VOLTA's, else None."""
    names = plain_names(contents.tensors)
    markers = {f"bert.{MARKER}"}
    kind = next((kind for kind in KINDS if markers | {f"bert.{kind.marker}"} <= names.keys()), None)
    if kind is None:
        return None
    files, copies = _placed(contents, names, kind.layout(names))
    tensors = {name: contents.tensors[key] for name, key in files.items() if key not in copies}
    found = _naming(kind, names).convert(replace(contents, tensors=tensors))
    assert found is not None
    return replace(
        found,
        original={ours: files.get(name, name) for ours, name in found.original.items()},
        head_names={ours: files.get(name, name) for ours, name in found.head_names.items()},
        left_out={**{files.get(name, name): why for name, why in found.left_out.items()}, **copies},
        model=_model(kind, contents, names),
        options=_first_lxmert(contents, names) if _is_first_lxmert(kind, names) else {},
        released_behaviour=True if kind.model == "vl_bert_ctrl" else None,
    )


def _placed(contents: Contents, names: Mapping[str, str], layout: Layout) -> tuple[dict[str, str], dict[str, str]]:
    """Return the file's names by what `Naming` is to read, and why those are left out that are copies."""
    files, copies = {}, {}
    for name, key in names.items():
        parts = SUBLAYER.match(name)
        leaf = parts and OURS.get((parts[2], parts[4]))
        if not parts or leaf is None:
            is_copy = name == SEGMENT_COPY
            twin = names.get("bert.embeddings.token_type_embeddings.weight")
        else:
            place = layout(int(parts[1]), "attention" if "attention" in parts[2] else "feed_forward")
            is_copy = bool(parts[3]) and place.text == place.vision
            twin = names.get(name.replace(".v_", "."))
            name = f"bert.{place.name(leaf, bool(parts[3]))}.{parts[5]}"
        if is_copy:
            if twin is not None and same(contents.tensors[key], contents.tensors[twin]):
                copies[key] = A_COPY.format(twin)
            files[key] = key  # by its own name, which is unexpected where it is no copy, or of nothing
        else:
            files[name] = key
    return files, copies


def _naming(kind: Kind, names: Mapping[str, str]) -> Naming:
    has_classes = CLASSES in names
    return Naming(
        source="volta",
        model=kind.model,
        title=f"VOLTA's {kind.model}",
        prefixes=("bert.",),
        markers=(kind.marker,),
        renames=(*kind.renames, *TEXT, *POOLERS),
        heads=(*WORD_HEAD, *MATCHING, *(REGION_HEAD if has_classes else ())),
        copies=WORD_COPIES,
        left_out=OTHER_HEADS,
        changes={} if ANSWERS in names else {"itm.head.dense.weight": swapped, "itm.head.dense.bias": swapped},
    )


def _model(kind: Kind, contents: Contents, names: Mapping[str, str]) -> str:
    """Return the option of ``conf/model``: streams of two widths are those of ViLBERT as first presented."""
    if kind.model == "vilbert_ctrl":
        text, vision = (names.get(name) for name in ("bert.embeddings.LayerNorm.weight", f"bert.{kind.marker}"))
        if text and vision and contents.tensors[text].shape != contents.tensors[vision].shape:
            return "vilbert"
    return kind.model


def _is_first_lxmert(kind: Kind, names: Mapping[str, str]) -> bool:
    """Whether this is LXMERT as first presented: the image has no pooler, since it has no row for all of it."""
    return kind.model == "lxmert_ctrl" and "bert.v_pooler.dense.weight" not in names


def _first_lxmert(contents: Contents, names: Mapping[str, str]) -> dict[str, Any]:
    pooler = contents.tensors[names["bert.t_pooler.dense.bias"]] if "bert.t_pooler.dense.bias" in names else None
    return {
        "embeddings.location_width": 4,
        "embeddings.global_region": None,
        "pooler.fusion": "text",
        "pooler.activation": "tanh" if ANSWERS in names else "relu",
        **({} if pooler is None else {"pooler.width": pooler.numel()}),
    }
