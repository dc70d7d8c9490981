"""Stacks of transformer layers: one stream over everything, or two streams that meet in cross layers.

A stack takes the embedded streams and returns the last states of each. It lists its sites in execution order, and hands
over every hidden state and attention map that somebody watches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from vlp.models.blocks import Attention, BlockShape, FeedForward, attention_bias
from vlp.models.embeddings.base import Embedded
from vlp.models.observation import Site, Watch

# Axes: B batch, T text tokens, V visual tokens, S = T + V, D width, D' width of vision where it has its own.

EMBEDDING_LAYER = -1
"""`Site.layer` of the embedding output."""
CROSS = "cross"


class Stack(nn.Module, ABC):
    """What turns embedded streams into encoded ones.

    Args:
        width: D of the text stream.
        sites: every site, in execution order.
        heads_of: attention heads, by site.
        vision_width: D' of the visual stream; None for ``width``.
    """

    def __init__(
        self, width: int, sites: tuple[Site, ...], heads_of: Mapping[Site, int], vision_width: int | None = None
    ) -> None:
        super().__init__()
        self.width = width
        self.vision_width = vision_width or width
        self.sites = sites
        self.heads_of = dict(heads_of)

    @abstractmethod
    def forward(self, embedded: Embedded, watch: Watch | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the last states of text (B, T, D) and of vision (B, V, D'), or None without a visual stream."""


class Layer(nn.Module):
    """A transformer layer of one stream: self attention, then feed-forward.

    Args:
        shape: of its sub-layers.
        stage, index, stream: where it stands, as in `Site`.
    """

    def __init__(self, shape: BlockShape, stage: str, index: int, stream: str) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.feed_forward = FeedForward(shape)
        self.attention_site = Site(stage, index, stream, stream)
        self.hidden_site = Site(stage, index, stream)
        self.sites = (self.attention_site, self.hidden_site)
        self.heads_of = {self.attention_site: shape.heads}

    def forward(self, states: Tensor, bias: Tensor | None, watch: Watch | None) -> Tensor:
        """Return the states after this layer, (B, S, D)."""
        states = self.attention(states, None, bias, self.attention_site, watch)
        states = self.feed_forward(states)
        if watch is not None:
            watch.hidden(self.hidden_site, states)
        return states


class Stream(nn.ModuleList):
    """Layers one after the other over one stream, starting from its embedding.

    Args:
        shape: of every layer.
        layers: how many.
        stage, stream: where they stand, as in `Site`.
    """

    def __init__(self, shape: BlockShape, layers: int, stage: str, stream: str) -> None:
        blocks = [Layer(shape, stage, index, stream) for index in range(layers)]
        super().__init__(blocks)
        self.embedding_site = Site(stage, EMBEDDING_LAYER, stream)
        self.sites = (self.embedding_site, *(site for block in blocks for site in block.sites))
        self.heads_of = {site: heads for block in blocks for site, heads in block.heads_of.items()}

    def forward(self, states: Tensor, bias: Tensor | None, watch: Watch | None) -> Tensor:
        """Return the states (B, S, D) after the last layer."""
        if watch is not None:
            watch.hidden(self.embedding_site, states)
        for layer in self:
            states = layer(states, bias, watch)
        return states


class SingleStream(Stack):
    """One stream: text, then vision, each with its padding, every token attending to every real one.

    Padding stays where it is (VisualBERT, ViLT); UNITER's released code moves it to the end, which changes no state of
    a real token, since positions come with the embeddings. Without a visual stream this is BERT.

    Args:
        shape: of every layer.
        layers: how many.
        stage: ``joint``, or ``text`` for a model that reads text only.
        final_norm: LayerNorm after the last layer, which layers with ``pre_norm`` need; the last state that is observed
            is the one before it.
    """

    def __init__(self, shape: BlockShape, layers: int, stage: str = "joint", final_norm: bool = False) -> None:
        stream = Stream(shape, layers, stage, stage)
        super().__init__(shape.width, stream.sites, stream.heads_of)
        self.layers = stream
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps) if final_norm else nn.Identity()

    def forward(self, embedded: Embedded, watch: Watch | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the last states of text (B, T, D) and of vision (B, V, D), or None."""
        states, mask = _joined(embedded)
        states = self.norm(self.layers(states, attention_bias(mask, states.dtype), watch))
        if embedded.vision is None:
            return states, None
        length = embedded.text.shape[1]
        return states[:, :length], states[:, length:]


def _joined(embedded: Embedded) -> tuple[Tensor, Tensor]:
    if embedded.vision is None or embedded.vision_mask is None:
        return embedded.text, embedded.text_mask
    states = torch.cat([embedded.text, embedded.vision], dim=1)
    return states, torch.cat([embedded.text_mask, embedded.vision_mask], dim=1)


class CrossLayer(nn.Module):
    """LXMERT's cross layer: cross attention both ways, then self attention, then feed-forward, each stream its own.

    One set of cross-attention weights serves both directions, and both read the layer's input: vision does not see what
    text has just become (Tan and Bansal 2019, section 2.2; released code).

    Args:
        shape: of every sub-layer, the same for both streams.
        index: where it stands among the cross layers.
    """

    def __init__(self, shape: BlockShape, index: int) -> None:
        super().__init__()
        self.cross_attention = Attention(shape)
        self.text = Layer(shape, CROSS, index, "text")
        self.vision = Layer(shape, CROSS, index, "vision")
        self.to_vision = Site(CROSS, index, "text", "vision")
        self.to_text = Site(CROSS, index, "vision", "text")
        self.sites = (self.to_vision, self.to_text, *self.text.sites, *self.vision.sites)
        crossing = {self.to_vision: shape.heads, self.to_text: shape.heads}
        self.heads_of = {**crossing, **self.text.heads_of, **self.vision.heads_of}

    def forward(
        self,
        text: Tensor,
        vision: Tensor,
        text_bias: Tensor | None,
        vision_bias: Tensor | None,
        watch: Watch | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the states of text (B, T, D) and vision (B, V, D) after this layer."""
        text_seeing = self.cross_attention(text, vision, vision_bias, self.to_vision, watch)
        vision_reading = self.cross_attention(vision, text, text_bias, self.to_text, watch)
        return self.text(text_seeing, text_bias, watch), self.vision(vision_reading, vision_bias, watch)


class CoLayer(nn.Module):
    """ViLBERT's cross layer: cross attention both ways, feed-forward, then self attention and feed-forward again.

    Each direction has weights of its own, in a width and with heads of its own; both read the layer's input. What the
    original calls a connection layer, and the layer of either stream that follows it (Lu et al. 2019; released code).

    Args:
        text, vision: shapes of the two streams.
        width, heads: of cross attention.
        index: where it stands among the cross layers.
    """

    def __init__(self, text: BlockShape, vision: BlockShape, width: int, heads: int, index: int) -> None:
        super().__init__()
        looking, reading = (replace(shape, attention_width=width, heads=heads) for shape in (text, vision))
        self.text_attention = Attention(looking, vision.width)
        self.vision_attention = Attention(reading, text.width)
        self.text_feed_forward = FeedForward(text)
        self.vision_feed_forward = FeedForward(vision)
        self.text = Layer(text, CROSS, index, "text")
        self.vision = Layer(vision, CROSS, index, "vision")
        self.to_vision = Site(CROSS, index, "text", "vision")
        self.to_text = Site(CROSS, index, "vision", "text")
        self.sites = (self.to_vision, self.to_text, *self.text.sites, *self.vision.sites)
        self.heads_of = {self.to_vision: heads, self.to_text: heads, **self.text.heads_of, **self.vision.heads_of}

    def forward(
        self,
        text: Tensor,
        vision: Tensor,
        text_bias: Tensor | None,
        vision_bias: Tensor | None,
        watch: Watch | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the states of text (B, T, D) and vision (B, V, D') after this layer."""
        looking = self.text_feed_forward(self.text_attention(text, vision, vision_bias, self.to_vision, watch))
        reading = self.vision_feed_forward(self.vision_attention(vision, text, text_bias, self.to_text, watch))
        return self.text(looking, text_bias, watch), self.vision(reading, vision_bias, watch)


class TwoStreams(Stack):
    """Two streams of their own, then cross layers in which they meet.

    Args:
        text, vision: layers before they meet; there may be none.
        cross: the cross layers.
        width, vision_width: of either stream.
    """

    def __init__(
        self, text: Stream, vision: Stream, cross: Sequence[CrossLayer | CoLayer], width: int, vision_width: int
    ) -> None:
        parts = (text, vision, *cross)
        sites = tuple(site for part in parts for site in part.sites)
        heads_of = {site: heads for part in parts for site, heads in part.heads_of.items()}
        super().__init__(width, sites, heads_of, vision_width)
        self.text_layers = text
        self.vision_layers = vision
        self.cross_layers = nn.ModuleList(cross)

    def forward(self, embedded: Embedded, watch: Watch | None = None) -> tuple[Tensor, Tensor]:
        """Return the last states of text (B, T, D) and of vision (B, V, D').

        Raises:
            ValueError: if there is no visual stream.
        """
        text, vision = embedded.text, embedded.vision
        if vision is None or embedded.vision_mask is None:
            raise ValueError("two streams need an image, the batch has none")
        text_bias = attention_bias(embedded.text_mask, text.dtype)
        vision_bias = attention_bias(embedded.vision_mask, vision.dtype)
        text = self.text_layers(text, text_bias, watch)
        vision = self.vision_layers(vision, vision_bias, watch)
        for layer in self.cross_layers:
            text, vision = layer(text, vision, text_bias, vision_bias, watch)
        return text, vision


class DualStream(TwoStreams):
    """LXMERT's: layers of text, layers of vision, cross layers with one set of weights for both directions.

    Args:
        shape: of every layer.
        text_layers, vision_layers, cross_layers: how many of each.
    """

    def __init__(self, shape: BlockShape, text_layers: int, vision_layers: int, cross_layers: int) -> None:
        text = Stream(shape, text_layers, "text", "text")
        vision = Stream(shape, vision_layers, "vision", "vision")
        cross = [CrossLayer(shape, index) for index in range(cross_layers)]
        super().__init__(text, vision, cross, shape.width, shape.width)


class CoAttention(TwoStreams):
    """ViLBERT's: layers of text, then cross layers, at the first of which vision enters.

    Args:
        text, vision: shapes of the two streams.
        text_layers, cross_layers: how many of each.
        cross_width, cross_heads: of cross attention, both ways.
    """

    def __init__(
        self,
        text: BlockShape,
        vision: BlockShape,
        text_layers: int,
        cross_layers: int,
        cross_width: int,
        cross_heads: int,
    ) -> None:
        before = Stream(text, text_layers, "text", "text")
        entering = Stream(vision, 0, "vision", "vision")
        cross = [CoLayer(text, vision, cross_width, cross_heads, index) for index in range(cross_layers)]
        super().__init__(before, entering, cross, text.width, vision.width)
