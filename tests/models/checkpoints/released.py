"""Files as they were released: every name and shape as documented, random numbers. Written without our mappings."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import transformers
from torch import Tensor

from tests.models.peers import WITH_HEADS, Sizes, config_of

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


def vilt(sizes: Sizes, patch: int = 4, grid: int = 3) -> dict[str, Tensor]:
    """``vilt_200k_mlm_itm.ckpt``."""
    width = sizes.width
    blocks = (
        {
            **norm(f"{at}.norm1", width),
            **dense(f"{at}.attn.qkv", 3 * width, width),
            **dense(f"{at}.attn.proj", width, width),
            **norm(f"{at}.norm2", width),
            **dense(f"{at}.mlp.fc1", sizes.feed_forward, width),
            **dense(f"{at}.mlp.fc2", width, sizes.feed_forward),
        }
        for at in (f"transformer.blocks.{index}" for index in range(sizes.layers[0]))
    )
    shapes = {
        **bert_text("text_embeddings.", sizes),
        "token_type_embeddings.weight": (2, width),
        "transformer.cls_token": (1, 1, width),
        "transformer.pos_embed": (1, 1 + grid * grid, width),
        "transformer.patch_embed.proj.weight": (width, 3, patch, patch),
        "transformer.patch_embed.proj.bias": (width,),
        **merged(blocks),
        **norm("transformer.norm", width),
        **dense("pooler.dense", width, width),
        **word_head("mlm_score.", sizes),
        **dense("itm_score.fc", 2, width),
    }
    tensors = drawn(shapes)
    tensors["mlm_score.decoder.weight"] = tensors["text_embeddings.word_embeddings.weight"]
    return {"text_embeddings.position_ids": torch.arange(sizes.positions)[None], **tensors}


def microsofts_swin(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Microsoft's file of a network of timm: stages end with down-sampling, masks and indices are kept."""
    tensors = {}
    for name, tensor in theirs.items():
        parts = name.split(".")
        if parts[2:3] == ["downsample"]:
            parts[1] = str(int(parts[1]) - 1)
        tensors[".".join(parts)] = tensor
    for name in list(tensors):
        if name.endswith(".relative_position_bias_table"):
            at = name.removesuffix("bias_table")
            tensors[f"{at}index"] = torch.zeros(4, 4, dtype=torch.long)
            if name.split(".")[3] == "1":
                tensors[name.replace("attn.relative_position_bias_table", "attn_mask")] = torch.zeros(2, 4, 4)
    return {**tensors, **drawn(dense("head", 7, 8))}


def of_transformers(model: str, sizes: Sizes, answers: int = ANSWERS) -> dict[str, Tensor]:
    """What transformers saves of a model with the heads of its pre-training; names and shapes are its own."""
    config = config_of(model, sizes)
    config.num_qa_labels = answers
    return _of_transformers(WITH_HEADS[model], config)


def vilt_of_transformers(sizes: Sizes, patch: int = 4, grid: int = 3) -> dict[str, Tensor]:
    """transformers' ViLT, whose pre-training has the head of masked words alone."""
    image = {"image_size": patch * grid, "patch_size": patch}
    config = transformers.ViltConfig(**sizes.common(), num_hidden_layers=sizes.layers[0], **image)
    return _of_transformers(transformers.ViltForMaskedLM, config)


def _of_transformers(kind: type[transformers.PreTrainedModel], config: transformers.PreTrainedConfig):
    with torch.device("meta"):
        theirs = kind(config).state_dict()
    tensors = drawn({name: tuple(tensor.shape) for name, tensor in theirs.items()})
    (words,) = (name for name in tensors if name.endswith(".word_embeddings.weight"))
    (decoder,) = (name for name in tensors if name.endswith((".predictions.decoder.weight", "score.decoder.weight")))
    tensors[decoder] = tensors[words]
    for name in tensors.keys() & {"cls.predictions.decoder.bias"}:
        tensors[name] = tensors["cls.predictions.bias"]
    return tensors


VOLTA_LOCATION = 5
"""Numbers of a location in the controlled models, and in ViLBERT and VL-BERT as first presented (VL-BERT has waves)."""


def volta(
    model: str,
    sizes: Sizes,
    pooled: int = 20,
    vision_width: int | None = None,
    classes: int = CLASSES,
    attributes: int = ATTRIBUTES,
    answers: int = ANSWERS,
) -> dict[str, Tensor]:
    """``pytorch_model_9.bin`` of a model of VOLTA's; shared sub-layers stand in it twice.

    ``lxmert`` is that model as first presented, ``lxmert_released`` LXMERT's release converted, which has answers too.
    ``sizes.layers`` are those of one stream, LXMERT's three numbers, or ViLBERT's layers of text and co-layers.
    """
    width, seen = sizes.width, vision_width or sizes.width
    is_single = len(sizes.layers) == 1
    embeddings = {
        "uniter": _volta_uniter,
        "visualbert": _volta_visualbert,
        "vl_bert": _volta_vl_bert,
        "vilbert": _volta_vilbert,
        "lxmert": _volta_lxmert,
    }[model.removesuffix("_ctrl").removesuffix("_released")]
    shapes = {
        **bert_text("bert.embeddings.", sizes),
        **embeddings(sizes, seen),
        **merged(_volta_sublayer(*sublayer, sizes, seen) for sublayer in volta_sublayers(sizes.layers)),
        **word_head("cls.predictions.", sizes),
        **dense("cls.imagePredictions.transform.dense", seen, seen),
    }
    if model.startswith("vl_bert"):
        shapes["bert.embeddings.token_type_embeddings.weight"] = (3, width)
    else:
        shapes.update(norm("cls.imagePredictions.transform.LayerNorm", seen))
    if model == "vl_bert":
        shapes["bert.embeddings.object_mask_word_embedding.weight"] = (1, width)
        shapes.update(dense("cls.imagePredictions.decoder_dict.6", classes, seen))
    elif model in ("lxmert", "lxmert_released"):
        shapes.update(dense("bert.t_pooler.dense", pooled, width))
        shapes.update(dense("cls.bi_seq_relationship", 2, pooled))
        shapes["bert.v_embeddings.image_location_embeddings.weight"] = (seen, 4)
        for target, out in (("3", classes), ("4", attributes), ("5", sizes.feature_width)):
            shapes.update(dense(f"cls.imagePredictions.decoder_dict.{target}", out, seen))
        if model == "lxmert_released":
            shapes.update(dense("cls.qaPredictions.logit_fc.0", 2 * seen, seen))
            shapes.update(norm("cls.qaPredictions.logit_fc.2", 2 * seen))
            shapes.update(dense("cls.qaPredictions.logit_fc.3", answers, 2 * seen))
    else:
        shapes.update(dense("bert.t_pooler.dense", pooled, width))
        shapes.update(dense("bert.v_pooler.dense", pooled, seen))
        shapes.update(dense("cls.bi_seq_relationship", 2, pooled))
        shapes.update(dense("cls.imagePredictions.decoder_dict.0", classes, seen))
    tensors = drawn(shapes)
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    for index, has_text, _, _ in volta_sublayers(sizes.layers):
        is_cross = len(sizes.layers) == 3 and has_text and index >= 2 * max(sizes.layers[:2])
        if is_single or (is_cross and (index - 2 * max(sizes.layers[:2])) % 3 == 0):
            start = f"bert.encoder.layer.{index}."
            for name in [name for name in tensors if name.startswith(start) and ".v_" in name]:
                tensors[name] = tensors[name.replace(".v_", ".")]
    return tensors


def volta_sublayers(layers: tuple[int, ...]) -> list[tuple[int, bool, bool, str]]:
    """Number, whether it is of text, whether of vision, and what: ``self``, ``cross`` or ``ff``."""
    if len(layers) == 1:
        return [(s, True, True, "ff" if s % 2 else "self") for s in range(2 * layers[0])]
    if len(layers) == 2:
        text, meeting = layers
        before = [(s, True, False, "ff" if s % 2 else "self") for s in range(2 * text)]
        steps = ("cross", "ff", "self", "ff")
        return before + [(2 * text + s, True, True, steps[s % 4]) for s in range(4 * meeting)]
    text, vision, cross = layers
    first = 2 * max(text, vision)
    before = [(s, s < 2 * text, s < 2 * vision, "ff" if s % 2 else "self") for s in range(first)]
    return before + [(first + s, True, True, ("cross", "self", "ff")[s % 3]) for s in range(3 * cross)]


def _volta_sublayer(index: int, has_text: bool, has_vision: bool, what: str, sizes: Sizes, seen: int) -> Shapes:
    """ViLBERT as first presented has streams of two widths, and cross attention in that of vision."""
    at, shapes = f"bert.encoder.layer.{index}.", {}
    hidden = sizes.feed_forward if seen == sizes.width else seen
    for mark, own, inner, is_there in (
        ("", sizes.width, sizes.feed_forward, has_text),
        ("v_", seen, hidden, has_vision),
    ):
        if not is_there:
            continue
        if what == "ff":
            shapes.update(dense(f"{at}intermediate.{mark}dense", inner, own))
            shapes.update(dense(f"{at}output.{mark}dense", own, inner))
            shapes.update(norm(f"{at}output.{mark}LayerNorm", own))
            continue
        attending = seen if what == "cross" else own
        for name in ("query", "key", "value"):
            shapes.update(dense(f"{at}attention_self.{mark}{name}", attending, own))
        shapes.update(dense(f"{at}attention_output.{mark}dense", own, attending))
        shapes.update(norm(f"{at}attention_output.{mark}LayerNorm", own))
    return shapes


def _volta_uniter(sizes: Sizes, seen: int) -> Shapes:
    at = "bert.embeddings."
    names = ("image_layer_norm", "image_location_layer_norm", "v_LayerNorm")
    return {
        **dense(f"{at}image_embeddings", seen, sizes.feature_width),
        **dense(f"{at}image_location_embeddings", seen, VOLTA_LOCATION),
        **merged(norm(at + name, seen) for name in names),
    }


def _volta_visualbert(sizes: Sizes, seen: int) -> Shapes:
    at = "bert.embeddings."
    return {
        **dense(f"{at}projection", seen, sizes.feature_width),
        f"{at}token_type_embeddings_visual.weight": (2, seen),
        f"{at}position_embeddings_visual.weight": (sizes.positions, seen),
    }


def _volta_vl_bert(sizes: Sizes, seen: int) -> Shapes:
    at = "bert.embeddings."
    return {
        **dense(f"{at}obj_downsample.1", seen, 2048 + sizes.feature_width),
        f"{at}object_linguistic_embeddings.weight": (1, seen),
        f"{at}object_mask_visual_embedding.weight": (1, sizes.feature_width),
        f"{at}end_embedding.weight": (1, seen),
        **norm(f"{at}visual_ln_text", seen),
        **norm(f"{at}visual_ln_object", seen),
    }


def _volta_vilbert(sizes: Sizes, seen: int) -> Shapes:
    at = "bert.v_embeddings."
    return {
        **dense(f"{at}image_embeddings", seen, sizes.feature_width),
        **dense(f"{at}image_location_embeddings", seen, VOLTA_LOCATION),
        **norm(f"{at}LayerNorm", seen),
    }


def _volta_lxmert(sizes: Sizes, seen: int) -> Shapes:
    at = "bert.v_embeddings."
    return {
        **dense(f"{at}image_embeddings", seen, sizes.feature_width),
        **dense(f"{at}image_location_embeddings", seen, VOLTA_LOCATION),
        **norm(f"{at}ImgLayerNorm", seen),
        **norm(f"{at}LocLayerNorm", seen),
    }
