"""Files as they were released: every name and shape as documented, random numbers. Written without our mappings."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tests.models.peers import Sizes

Shapes = dict[str, tuple[int, ...]]

CLASSES, ATTRIBUTES, ANSWERS = 11, 5, 6
"""Of the heads, beside which `BASE` has the papers'."""


def dense(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def merged(parts: Iterable[Shapes]) -> Shapes:
    return {name: shape for part in parts for name, shape in part.items()}


def drawn(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Numbers of a trained model's size: nothing zero, nothing one."""
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 + 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def bert_text(prefix: str, sizes: Sizes) -> Shapes:
    width = sizes.width
    return {
        f"{prefix}word_embeddings.weight": (sizes.vocab, width),
        f"{prefix}position_embeddings.weight": (sizes.positions, width),
        f"{prefix}token_type_embeddings.weight": (2, width),
        **norm(f"{prefix}LayerNorm", width),
    }


def attention(inside: str, outside: str, width: int) -> Shapes:
    projections = (dense(f"{inside}.{name}", width, width) for name in ("query", "key", "value"))
    return merged([*projections, dense(f"{outside}.dense", width, width), norm(f"{outside}.LayerNorm", width)])


def feed_forward(expand: str, contract: str, sizes: Sizes) -> Shapes:
    return {
        **dense(f"{expand}.dense", sizes.feed_forward, sizes.width),
        **dense(f"{contract}.dense", sizes.width, sizes.feed_forward),
        **norm(f"{contract}.LayerNorm", sizes.width),
    }


def bert_layer(prefix: str, sizes: Sizes) -> Shapes:
    return {
        **attention(f"{prefix}.attention.self", f"{prefix}.attention.output", sizes.width),
        **feed_forward(f"{prefix}.intermediate", f"{prefix}.output", sizes),
    }


def bert_layers(prefix: str, count: int, sizes: Sizes) -> Shapes:
    return merged(bert_layer(f"{prefix}.{index}", sizes) for index in range(count))


def word_head(prefix: str, sizes: Sizes) -> Shapes:
    return {
        f"{prefix}bias": (sizes.vocab,),
        **dense(f"{prefix}transform.dense", sizes.width, sizes.width),
        **norm(f"{prefix}transform.LayerNorm", sizes.width),
        f"{prefix}decoder.weight": (sizes.vocab, sizes.width),
    }


def uniter(sizes: Sizes, classes: int = CLASSES) -> dict[str, Tensor]:
    """``uniter-base.pt``."""
    width, image = sizes.width, "uniter.img_embeddings."
    tensors = drawn(
        {
            **bert_text("uniter.embeddings.", sizes),
            **dense(f"{image}img_linear", width, sizes.feature_width),
            **norm(f"{image}img_layer_norm", width),
            **dense(f"{image}pos_linear", width, 7),
            **norm(f"{image}pos_layer_norm", width),
            f"{image}mask_embedding.weight": (2, sizes.feature_width),
            **norm(f"{image}LayerNorm", width),
            **bert_layers("uniter.encoder.layer", sizes.layers[0], sizes),
            **dense("uniter.pooler.dense", width, width),
            **word_head("cls.predictions.", sizes),
            "feat_regress.weight": (width, sizes.feature_width),
            "feat_regress.bias": (sizes.feature_width,),
            **dense("feat_regress.net.0", width, width),
            **norm("feat_regress.net.2", width),
            **dense("region_classifier.net.0", width, width),
            **norm("region_classifier.net.2", width),
            **dense("region_classifier.net.3", classes, width),
            **dense("itm_output", 2, width),
        }
    )
    tensors["cls.predictions.decoder.weight"] = tensors["uniter.embeddings.word_embeddings.weight"]
    tensors["feat_regress.weight"] = tensors[f"{image}img_linear.weight"]
    return tensors


def lxmert(sizes: Sizes, classes: int = CLASSES, attributes: int = ATTRIBUTES, answers: int = ANSWERS):
    """``model_LXRT.pth``, written by DataParallel."""
    width = sizes.width
    text, vision, cross = sizes.layers
    look, stem = "bert.encoder.visn_fc.", "obj_predict_head."
    shapes = {
        **bert_text("bert.embeddings.", sizes),
        **dense(f"{look}visn_fc", width, sizes.feature_width),
        **norm(f"{look}visn_layer_norm", width),
        **dense(f"{look}box_fc", width, 4),
        **norm(f"{look}box_layer_norm", width),
        **bert_layers("bert.encoder.layer", text, sizes),
        **bert_layers("bert.encoder.r_layers", vision, sizes),
        **merged(_cross_layer(f"bert.encoder.x_layers.{index}", sizes) for index in range(cross)),
        **dense("bert.pooler.dense", width, width),
        **word_head("cls.predictions.", sizes),
        **dense("cls.seq_relationship", 2, width),
        **dense(f"{stem}transform.dense", width, width),
        **norm(f"{stem}transform.LayerNorm", width),
        **dense(f"{stem}decoder_dict.obj", classes, width),
        **dense(f"{stem}decoder_dict.attr", attributes, width),
        **dense(f"{stem}decoder_dict.feat", sizes.feature_width, width),
        **dense("answer_head.logit_fc.0", 2 * width, width),
        **norm("answer_head.logit_fc.2", 2 * width),
        **dense("answer_head.logit_fc.3", answers, 2 * width),
    }
    tensors = drawn(shapes)
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    return {f"module.{name}": tensor for name, tensor in tensors.items()}


def _cross_layer(prefix: str, sizes: Sizes) -> Shapes:
    parts = [attention(f"{prefix}.visual_attention.att", f"{prefix}.visual_attention.output", sizes.width)]
    for stream in ("lang", "visn"):
        at = f"{prefix}.{stream}_self_att"
        parts.append(attention(f"{at}.self", f"{at}.output", sizes.width))
        parts.append(feed_forward(f"{prefix}.{stream}_inter", f"{prefix}.{stream}_output", sizes))
    return merged(parts)


def visualbert(sizes: Sizes, prefix: str = "bert.") -> dict[str, Tensor]:
    """A ``.th`` of COCO pre-training, with the names that MMF puts behind another prefix."""
    width, inside = sizes.width, f"{prefix}bert."
    shapes = {
        **bert_text(f"{inside}embeddings.", sizes),
        f"{inside}embeddings.token_type_embeddings_visual.weight": (2, width),
        f"{inside}embeddings.position_embeddings_visual.weight": (sizes.positions, width),
        **dense(f"{inside}embeddings.projection", width, sizes.feature_width),
        **bert_layers(f"{inside}encoder.layer", sizes.layers[0], sizes),
        **dense(f"{inside}pooler.dense", width, width),
        **word_head(f"{prefix}cls.predictions.", sizes),
        **dense(f"{prefix}cls.seq_relationship", 2, width),
    }
    tensors = drawn(shapes)
    tensors[f"{prefix}cls.predictions.decoder.weight"] = tensors[f"{inside}embeddings.word_embeddings.weight"]
    return tensors
