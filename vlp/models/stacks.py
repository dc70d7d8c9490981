"""Stacks of transformer layers: one stream over everything, or two streams that meet in cross layers.

A stack takes the embedded streams and returns the last states of each. It lists its sites in execution order, and hands
over every hidden state and attention map that somebody watches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vlp.models.blocks import Attention, BlockShape, FeedForward, attention_bias
from vlp.models.embeddings.base import Embedded
from vlp.models.observation import Site, Watch

# Axes: B batch, T text tokens, V visual tokens, S = T + V, D width.

EMBEDDING_LAYER = -1
"""`Site.layer` of the embedding output."""
CROSS = "cross"


class Stack(nn.Module, ABC):
    """What turns embedded streams into encoded ones.

    Args:
        width: D of the text stream.
        heads: attention heads of a layer.
        sites: every site, in execution order.
    """

    def __init__(self, width: int, heads: int, sites: tuple[Site, ...]) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.sites = sites

    @abstractmethod
    def forward(self, embedded: Embedded, watch: Watch | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the last states of text (B, T, D) and of vision (B, V, D), or None without a visual stream."""


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
    """

    def __init__(self, shape: BlockShape, layers: int, stage: str = "joint") -> None:
        stream = Stream(shape, layers, stage, stage)
        super().__init__(shape.width, shape.heads, stream.sites)
        self.layers = stream

    def forward(self, embedded: Embedded, watch: Watch | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the last states of text (B, T, D) and of vision (B, V, D), or None."""
        states, mask = _joined(embedded)
        states = self.layers(states, attention_bias(mask, states.dtype), watch)
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


class DualStream(Stack):
    """Two streams of their own, then cross layers in which they meet.

    Args:
        shape: of every layer.
        text_layers, vision_layers, cross_layers: how many of each.
    """

    def __init__(self, shape: BlockShape, text_layers: int, vision_layers: int, cross_layers: int) -> None:
        text = Stream(shape, text_layers, "text", "text")
        vision = Stream(shape, vision_layers, "vision", "vision")
        cross = [CrossLayer(shape, index) for index in range(cross_layers)]
        met = (site for layer in cross for site in layer.sites)
        super().__init__(shape.width, shape.heads, (*text.sites, *vision.sites, *met))
        self.text_layers = text
        self.vision_layers = vision
        self.cross_layers = nn.ModuleList(cross)

    def forward(self, embedded: Embedded, watch: Watch | None = None) -> tuple[Tensor, Tensor]:
        """Return the last states of text (B, T, D) and of vision (B, V, D).

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
