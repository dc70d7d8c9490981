"""The one encoder interface: embeddings, a stack of blocks, a pooler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlp.data.sample import Batch
from vlp.models.blocks import initial_std, initialise
from vlp.models.embeddings.base import Embeddings
from vlp.models.embeddings.regions import check_regions
from vlp.models.observation import Observer, Site, Watch
from vlp.models.stacks import Stack

# Axes: B batch, T text tokens, V visual tokens, S tokens of a stream, D width.


@dataclass(frozen=True)
class Encoding:
    """Last states of text (B, T, D) and of vision (B, V, D), and the pooled state (B, D).

    ``vision`` is None for a model that reads no image, ``pooled`` for one without a pooler. States at padding mean
    nothing.
    """

    text: Tensor
    vision: Tensor | None
    pooled: Tensor | None


class FirstTokenPooler(nn.Module):
    """tanh(W h) of the first text token, [CLS]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, text: Tensor, vision: Tensor | None) -> Tensor:
        """Return (B, D) for text (B, T, D); ``vision`` is not read."""
        return torch.tanh(self.dense(text[:, 0]))


class VLEncoder(nn.Module):
    """A vision-and-language encoder, whatever its architecture.

    Args:
        name: the option in ``conf/model``.
        embeddings: builds the embedding from ``vocab_size`` and ``feature_width``.
        stack: takes `Embedded` and a `Watch`, returns the last states of both streams; lists its ``sites``.
        vocab_size: word pieces.
        feature_width: width of the region features; None where none are read.
        pooler: takes the last states of both streams; None for a model without.
        initializer_range: standard deviation of initial weights; None for `initial_std` of the width.
    """

    def __init__(
        self,
        name: str,
        embeddings: Callable[..., Embeddings],
        stack: Stack,
        vocab_size: int,
        feature_width: int | None = None,
        pooler: nn.Module | None = None,
        initializer_range: float | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.embeddings = embeddings(vocab_size=vocab_size, feature_width=feature_width)
        self.stack = stack
        self.pooler = pooler
        self.width = stack.width
        self.num_heads = stack.heads
        self.sites: tuple[Site, ...] = stack.sites
        self.initializer_range = initializer_range or initial_std(self.width)
        initialise(self, self.initializer_range)

    @property
    def word_embeddings(self) -> nn.Embedding:
        """The word table, which the masked-word head shares."""
        return self.embeddings.text.words

    @property
    def vocab_size(self) -> int:
        """Word pieces the model knows."""
        return self.word_embeddings.num_embeddings

    @property
    def max_positions(self) -> int:
        """The longest caption in word pieces, [CLS] and [SEP] included."""
        return self.embeddings.text.positions.num_embeddings

    @property
    def feature_width(self) -> int | None:
        """Width of the region features the model reads; None where it reads none."""
        return self.embeddings.feature_width

    @property
    def attention_sites(self) -> tuple[Site, ...]:
        """Sites of attention maps, in execution order."""
        return tuple(site for site in self.sites if site.is_attention)

    @property
    def hidden_sites(self) -> tuple[Site, ...]:
        """Sites of hidden states, in execution order."""
        return tuple(site for site in self.sites if not site.is_attention)

    def forward(self, batch: Batch, observers: Sequence[Observer] = ()) -> Encoding:
        """Encode ``batch``, handing activations to ``observers`` as they come into being.

        Raises:
            ValueError: if a caption has more pieces than `max_positions`, or the regions are not what the model reads.
            CaptureError: if an observer asked for nothing this model has, or a wanted site was not reached.
        """
        self._check(batch)
        watch = Watch(observers, self.sites, self.num_heads) if observers else None
        text, vision = self.stack(self.embeddings(batch), watch)
        if watch is not None:
            watch.finish()
        return Encoding(text, vision, None if self.pooler is None else self.pooler(text, vision))

    def stream_masks(self, batch: Batch, stream: str) -> tuple[Tensor, Tensor]:
        """Return, for the tokens of ``stream`` in ``batch``, which are real and which are visual: two (B, S) bool.

        ``joint`` is text, then vision, in a model of two streams too.

        Raises:
            ValueError: if this model has no such stream.
        """
        text, vision = batch.text_mask, self.embeddings.vision_mask(batch)
        streams = ("text", "joint") if vision is None else ("text", "vision", "joint")
        if stream not in streams:
            raise ValueError(f"{self.name} has no stream {stream!r} here, expected one of {', '.join(streams)}")
        if vision is None or stream == "text":
            return text, torch.zeros_like(text)
        if stream == "vision":
            return vision, torch.ones_like(vision)
        is_vision = torch.cat([torch.zeros_like(text), torch.ones_like(vision)], dim=1)
        return torch.cat([text, vision], dim=1), is_vision

    def _check(self, batch: Batch) -> None:
        length = batch.input_ids.shape[1]
        if length > self.max_positions:
            raise ValueError(
                f"{self.name} has {self.max_positions} positions, "
                f"the longest caption of the batch has {length} word pieces"
            )
        if self.feature_width is not None:
            check_regions(batch, self.feature_width, self.name)
