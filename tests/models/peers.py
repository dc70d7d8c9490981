"""Encoders of transformers with random weights, and every activation of theirs by our sites: the referee of ours."""

from dataclasses import dataclass

import torch
import transformers
from torch import Tensor, nn

from vlp.data.sample import Batch
from vlp.models.blocks import initial_std
from vlp.models.observation import Site


@dataclass(frozen=True)
class Sizes:
    """Of both models; ``layers`` is (single stream) or (text, vision, cross)."""

    layers: tuple[int, ...]
    width: int = 64
    heads: int = 4
    feed_forward: int = 96
    positions: int = 24
    vocab: int = 80
    feature_width: int = 20

    def common(self) -> dict[str, int]:
        return {
            "hidden_size": self.width,
            "num_attention_heads": self.heads,
            "intermediate_size": self.feed_forward,
            "max_position_embeddings": self.positions,
            "vocab_size": self.vocab,
            "initializer_range": initial_std(self.width),
        }

    def ours(self) -> dict[str, int]:
        names = ("layers",) if len(self.layers) == 1 else ("text_layers", "vision_layers", "cross_layers")
        return {
            "width": self.width,
            "heads": self.heads,
            "feed_forward": self.feed_forward,
            "positions": self.positions,
            "vocab_size": self.vocab,
            "feature_width": self.feature_width,
            **dict(zip(names, self.layers, strict=True)),
        }


def config_of(model: str, sizes: Sizes) -> transformers.PreTrainedConfig:
    """The configuration of transformers for our model of that name."""
    if model == "lxmert":
        text, vision, cross = sizes.layers
        return transformers.LxmertConfig(
            **sizes.common(),
            l_layers=text,
            r_layers=vision,
            x_layers=cross,
            visual_feat_dim=sizes.feature_width,
            num_qa_labels=7,
        )
    common = {**sizes.common(), "num_hidden_layers": sizes.layers[0], "attn_implementation": "eager"}
    if model == "visualbert":
        return transformers.VisualBertConfig(**common, visual_embedding_dim=sizes.feature_width)
    return transformers.BertConfig(**common)


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Move biases and LayerNorms away from 0 and 1, where mistakes do not show; in eval()."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


@torch.no_grad()
def bert_activations(model: nn.Module, batch: Batch) -> dict[Site, Tensor]:
    out = model(
        input_ids=batch.input_ids,
        attention_mask=batch.text_mask.long(),
        token_type_ids=batch.token_types,
        output_attentions=True,
        output_hidden_states=True,
    )
    return single_stream(out, "text")


@torch.no_grad()
def visualbert_activations(model: nn.Module, batch: Batch) -> dict[Site, Tensor]:
    types = torch.zeros_like(batch.region_mask, dtype=torch.long) if batch.visual_types is None else batch.visual_types
    out = model(
        input_ids=batch.input_ids,
        attention_mask=batch.text_mask.long(),
        token_type_ids=batch.token_types,
        visual_embeds=batch.features,
        visual_attention_mask=batch.region_mask.long(),
        visual_token_type_ids=types,
        image_text_alignment=batch.alignment,
        output_attentions=True,
        output_hidden_states=True,
    )
    return single_stream(out, "joint")


def single_stream(out: transformers.utils.ModelOutput, stream: str) -> dict[Site, Tensor]:
    """Hidden states and maps of a BERT-like output, by site."""
    hidden = {Site(stream, layer - 1, stream): states for layer, states in enumerate(out.hidden_states)}
    maps = {Site(stream, layer, stream, stream): weights for layer, weights in enumerate(out.attentions)}
    assert len(maps) == len(hidden) - 1
    return {**hidden, **maps}


@torch.no_grad()
def lxmert_activations(model: nn.Module, batch: Batch) -> dict[Site, Tensor]:
    """What LxmertModel returns; by hooks what it does not: embeddings, image-to-text and self maps of cross layers."""
    found: dict[Site, Tensor] = {}
    handles = [
        _listen(model.embeddings, found, [Site("text", -1, "text")]),
        _listen(model.encoder.visn_fc, found, [Site("vision", -1, "vision")]),
    ]
    for index, layer in enumerate(model.encoder.x_layers):
        both = [Site("cross", index, "text", "vision"), Site("cross", index, "vision", "text")]
        handles.append(_listen_to_maps(layer.visual_attention.att, found, both))
        handles.append(_listen_to_maps(layer.lang_self_att.self, found, [Site("cross", index, "text", "text")]))
        handles.append(_listen_to_maps(layer.visn_self_att.self, found, [Site("cross", index, "vision", "vision")]))
    out = model(
        input_ids=batch.input_ids,
        attention_mask=batch.text_mask.long(),
        token_type_ids=batch.token_types,
        visual_feats=batch.features,
        visual_pos=batch.boxes,
        visual_attention_mask=batch.region_mask.long(),
        output_attentions=True,
        output_hidden_states=True,
    )
    for handle in handles:
        handle.remove()
    return {**found, **_lxmert_returned(out)}


def _lxmert_returned(out: transformers.utils.ModelOutput) -> dict[Site, Tensor]:
    found = {}
    for stream, states, maps in (
        ("text", out.language_hidden_states, out.language_attentions),
        ("vision", out.vision_hidden_states, out.vision_attentions),
    ):
        for index, value in enumerate(states):  # no embedding among them; the cross layers' follow the stream's own
            own = index < len(maps)
            found[Site(stream if own else "cross", index if own else index - len(maps), stream)] = value
        for index, weights in enumerate(maps):
            found[Site(stream, index, stream, stream)] = weights
    for index, weights in enumerate(out.cross_encoder_attentions):
        found[Site("cross", index, "text", "vision")] = weights
    return found


def _listen(module: nn.Module, found: dict[Site, Tensor], sites: list[Site]) -> torch.utils.hooks.RemovableHandle:
    calls = iter(sites)

    def keep(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        found[next(calls)] = output if isinstance(output, Tensor) else output[-1]

    return module.register_forward_hook(keep)


def _listen_to_maps(attention: nn.Module, found: dict[Site, Tensor], sites: list[Site]) -> object:
    """Make an attention module of LXMERT return its map always, and keep it; it is called once a site."""
    forward = attention.forward
    attention.forward = lambda *args, **kwargs: forward(*args, **{**kwargs, "output_attentions": True})
    return _listen(attention, found, sites)


ACTIVATIONS = {"bert": bert_activations, "visualbert": visualbert_activations, "lxmert": lxmert_activations}
BARE = {"bert": transformers.BertModel, "visualbert": transformers.VisualBertModel, "lxmert": transformers.LxmertModel}
WITH_HEADS = {
    "bert": transformers.BertForPreTraining,
    "visualbert": transformers.VisualBertForPreTraining,
    "lxmert": transformers.LxmertForPreTraining,
}
