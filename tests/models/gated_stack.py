"""VOLTA's gated stack of two streams, written down from its description, on the weights of one of our encoders.

A model is a list of sublayers, each of attention or feed-forward. Attention has four gates (text to text, text to
vision, ...); a stream with two gates open reads both streams under one softmax. See Bugliarello et al., TACL 2021,
section 4, and the key names of the released checkpoints, which `sublayers` gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vlp.models import VLEncoder
from vlp.observe import Site

Weights = dict[str, Tensor]
BLOCKED = -10000.0


STREAMS = {"t": "text", "v": "vision"}


@dataclass
class Sublayer:
    """What stands at one number, with heads and weights by stream, and the layer of ours it belongs to.

    Args:
        stage, layer: of ours; ``stage`` is ``own`` before the streams meet.
        gates: the open ones, such as ``tv``: text asks, vision is read. None in a feed-forward sublayer.
    """

    stage: str
    layer: int
    gates: tuple[str, ...] = ()
    heads: dict[str, int] = field(default_factory=dict)
    weights: dict[str, Weights] = field(default_factory=dict)


def sublayers(encoder: VLEncoder) -> list[Sublayer]:
    """Return the sublayers of ``encoder``; keys and values are of the stream they are made of, as in VOLTA."""
    stack = encoder.stack
    if hasattr(stack, "layers"):
        both = [{"t": layer, "v": layer} for layer in stack.layers]
        return [part for at, pair in enumerate(both) for part in _layer(pair, "joint", at, ("tt", "tv", "vt", "vv"))]
    text, vision = list(stack.text_layers), list(stack.vision_layers)
    found = []
    for at in range(max(len(text), len(vision))):
        streams = {"t": text[at : at + 1], "v": vision[at : at + 1]}
        found += _layer({stream: layer[0] for stream, layer in streams.items() if layer}, "own", at)
    for at, layer in enumerate(stack.cross_layers):
        found += _shared_cross(layer, at) if hasattr(layer, "cross_attention") else _co_attention(layer, at)
        found += _layer({"t": layer.text, "v": layer.vision}, "cross", at)
    return found


def _layer(streams: dict, stage: str, at: int, gates: tuple[str, ...] = ()) -> list[Sublayer]:
    attend = Sublayer(stage, at, gates or tuple(stream + stream for stream in streams))
    feed = Sublayer(stage, at)
    for stream, layer in streams.items():
        attend.weights[stream], attend.heads[stream] = _named(layer.attention), layer.attention.heads
        feed.weights[stream] = _named(layer.feed_forward)
    return [attend, feed]


def _shared_cross(layer, at: int) -> list[Sublayer]:
    weights, heads = _named(layer.cross_attention), layer.cross_attention.heads
    return [Sublayer("cross", at, ("tv", "vt"), {"t": heads, "v": heads}, {"t": weights, "v": weights})]


def _co_attention(layer, at: int) -> list[Sublayer]:
    ours = {"t": layer.text_attention, "v": layer.vision_attention}
    asking, other = {stream: _named(part) for stream, part in ours.items()}, {"t": "v", "v": "t"}
    weights = {
        stream: {
            **asking[stream],
            **{key: tensor for key, tensor in asking[other[stream]].items() if key.startswith(("key", "value"))},
        }
        for stream in ours
    }
    cross = Sublayer("cross", at, ("tv", "vt"), {stream: part.heads for stream, part in ours.items()}, weights)
    feeds = {"t": _named(layer.text_feed_forward), "v": _named(layer.vision_feed_forward)}
    return [cross, Sublayer("cross", at, weights=feeds)]


def _named(module) -> Weights:
    return dict(module.named_parameters())


def activations(encoder: VLEncoder, states: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[Site, Tensor]:
    """Return every state and map of the gated stack, by the site that ours has it at.

    Args:
        encoder: whose weights are used.
        states, masks: the embedded streams ``t`` and ``v``, and which of their tokens there are.
    """
    is_joint = hasattr(encoder.stack, "layers")
    found = {Site("joint", -1, "joint"): _joined(states)} if is_joint else _own_states(-1, "own", states)
    for sublayer in sublayers(encoder):
        at, before = sublayer.layer, dict(states)
        maps = {}
        for stream, weights in sublayer.weights.items():
            if not sublayer.gates:
                states[stream] = _feed(weights, before[stream])
                continue
            read = [gate[1] for gate in sublayer.gates if gate[0] == stream]
            states[stream], maps[stream, read[0]] = _attend(sublayer, stream, read, before, masks)
        if is_joint and maps:
            found[Site("joint", at, "joint", "joint")] = torch.cat(list(maps.values()), dim=2)
        elif is_joint:
            found[Site("joint", at, "joint")] = _joined(states)
        elif maps:
            for (asks, is_read), weights in maps.items():
                stage = STREAMS[asks] if sublayer.stage == "own" else sublayer.stage
                found[Site(stage, at, STREAMS[asks], STREAMS[is_read])] = weights
        else:
            found |= _own_states(at, sublayer.stage, {stream: states[stream] for stream in sublayer.weights})
    return found


def _joined(states: dict[str, Tensor]) -> Tensor:
    return torch.cat([states["t"], states["v"]], dim=1)


def _own_states(at: int, stage: str, states: dict[str, Tensor]) -> dict[Site, Tensor]:
    stages = {stream: STREAMS[stream] if stage == "own" else stage for stream in states}
    return {Site(stages[stream], at, STREAMS[stream]): value for stream, value in states.items()}


def _attend(sublayer: Sublayer, stream: str, read: list[str], states: dict, masks: dict) -> tuple[Tensor, Tensor]:
    weights, heads = sublayer.weights[stream], sublayer.heads[stream]

    def project(name: str, of: str) -> Tensor:
        value = _linear(states[of], sublayer.weights[of], name)
        return torch.stack(value.chunk(heads, dim=-1), dim=1)  # (B, H, S, E)

    query = project("query", stream)
    key, value = (torch.cat([project(name, of) for of in read], dim=2) for name in ("key", "value"))
    hidden = torch.cat([~masks[of] for of in read], dim=1)[:, None, None] * BLOCKED
    scores = torch.einsum("bhqe,bhke->bhqk", query, key) / math.sqrt(query.shape[-1]) + hidden
    exponent = (scores - scores.amax(-1, keepdim=True)).exp()
    attention = exponent / exponent.sum(-1, keepdim=True)
    mixed = torch.cat(torch.einsum("bhqk,bhke->bhqe", attention, value).unbind(1), dim=-1)
    return _normed(_linear(mixed, weights, "output") + states[stream], weights), attention


def _feed(weights: Weights, states: Tensor) -> Tensor:
    wide = _linear(states, weights, "expand")
    wide = wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2)))
    return _normed(_linear(wide, weights, "contract") + states, weights)


def _linear(states: Tensor, weights: Weights, name: str) -> Tensor:
    return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _normed(states: Tensor, weights: Weights) -> Tensor:
    centred = states - states.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
    return scaled * weights["norm.weight"] + weights["norm.bias"]
