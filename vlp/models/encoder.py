"""The one encoder interface: embeddings, a stack of blocks, a pooler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlp.data.pixels import PixelInput
from vlp.data.sample import Batch
from vlp.models.blocks import initial_std, initialise
from vlp.models.embeddings.base import Embeddings
from vlp.models.observation import Observer, Site, Watch
from vlp.models.poolers import Pooler
from vlp.models.stacks import Stack

# Axes: B batch, T text tokens, V visual tokens, S tokens of a stream, D width, D' width of vision, P pooled width.


@dataclass(frozen=True)
class Encoding:
    """Last states of text (B, T, D) and of vision (B, V, D'), and the pooled state (B, P).

    ``vision`` is None for a model that reads no image, ``pooled`` for one without a pooler. Of regions it has those of
    the batch, without a global row that the model may add. States at padding mean nothing. ``hidden`` and ``targets``
    are the embedding's, see `Embedded`.
    """

    text: Tensor
    vision: Tensor | None
    pooled: Tensor | None
    hidden: Tensor | None = None
    targets: Tensor | None = None


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
        released_behaviour: whether to do what the released code does where that is wrong; what that is, the embedding
            says. None: as the weights were trained (`follow`), and right until any say so.

    Raises:
        ValueError: if ``released_behaviour`` is given to a model whose released code does what it should.
    """

    def __init__(
        self,
        name: str,
        embeddings: Callable[..., Embeddings],
        stack: Stack,
        vocab_size: int,
        feature_width: int | None = None,
        pooler: Pooler | None = None,
        initializer_range: float | None = None,
        released_behaviour: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.embeddings = embeddings(vocab_size=vocab_size, feature_width=feature_width)
        self.stack = stack
        self.pooler = pooler
        self.width = stack.width
        self.vision_width = stack.vision_width
        self.pooled_width = None if pooler is None else pooler.width
        self.heads_of = stack.heads_of
        self.sites: tuple[Site, ...] = stack.sites
        self.asked_behaviour = released_behaviour
        self.trained_behaviour: bool | None = None  # what its weights say, None until some do
        if released_behaviour is not None:
            if self.embeddings.released_behaviour is None:
                raise ValueError(f"model {name} has no released_behaviour: its released code does what it should")
            self.embeddings.released_behaviour = released_behaviour
        self.initializer_range = initializer_range or initial_std(self.width)
        initialise(self, self.initializer_range)
        self.embeddings.initialise_own()

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
        return self.embeddings.max_positions

    @property
    def num_heads(self) -> int:
        """Attention heads, of a model that has as many everywhere.

        Raises:
            ValueError: if it has not; `heads_of` says how many each site has.
        """
        found = set(self.heads_of.values())
        if len(found) != 1:
            numbers = " and ".join(map(str, sorted(found)))
            raise ValueError(f"{self.name} has {numbers} attention heads, by site: see heads_of")
        return found.pop()

    @property
    def reads(self) -> str:
        """What it reads of an image: ``regions`` or ``pixels``; ``text`` if it reads none."""
        return self.embeddings.reads

    @property
    def released_behaviour(self) -> bool:
        """Whether it does what its released code does wrong."""
        return bool(self.embeddings.released_behaviour)

    def follow(self, released_behaviour: bool) -> None:
        """Do as weights of this model were trained, unless it was built to do one or the other; remember what they say.

        Of a model whose released code does what it should, nothing is said.
        """
        if self.embeddings.released_behaviour is None:
            return
        self.trained_behaviour = released_behaviour
        if self.asked_behaviour is None:
            self.embeddings.released_behaviour = released_behaviour

    @property
    def pixel_input(self) -> PixelInput | None:
        """How an image becomes the pixels it reads; None where it reads none."""
        return self.embeddings.pixel_input

    @property
    def first_region(self) -> int:
        """Where the first region stands among the visual tokens: after a global row, if that comes first."""
        return self.embeddings.first_region

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
        watch = Watch(observers, self.sites, self.heads_of) if observers else None
        embedded = self.embeddings(batch)
        text, vision = self.stack(embedded, watch)
        if watch is not None:
            watch.finish()
        pooled = None if self.pooler is None else self.pooler(text, vision)
        vision = None if vision is None else self.embeddings.without_global(vision)
        return Encoding(text, vision, pooled, embedded.hidden, embedded.targets)

    def width_of(self, stream: str) -> int:
        """Return the width of the states of ``text``, ``vision`` or ``joint``."""
        return self.vision_width if stream == "vision" else self.width

    def stream_masks(self, batch: Batch, stream: str) -> tuple[Tensor, Tensor]:
        """Return, for the tokens of ``stream`` in ``batch``, which are real and which are visual: two (B, S) bool.

        ``joint`` is text, then vision, in a model of two streams too. A global row is not real: it is attended, and
        nothing of the image by itself.

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
        self.embeddings.check(batch, self.name)
