"""How a format names the weights of one architecture: replacements of parts of names. The formats say which."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents

Renames = tuple[tuple[str, str], ...]
Change = Callable[[Tensor], Tensor]

OLD_NORM_NAMES: Renames = ((".gamma", ".weight"), (".beta", ".bias"))
"""LayerNorm's parameters in files converted from TensorFlow."""
PARALLEL = "module."
"""What DataParallel puts before every name."""

WORDS = "embeddings.word_embeddings.weight"
FIRST_QUERY = "encoder.layer.0.attention.self.query.weight"
"""Names that every file of BERT's family has."""

TEXT: Renames = (
    ("embeddings.word_embeddings.", "embeddings.text.words."),
    ("embeddings.position_embeddings.", "embeddings.text.positions."),
    ("embeddings.token_type_embeddings.", "embeddings.text.types."),
    ("embeddings.LayerNorm.", "embeddings.text.norm."),
)
LAYER: Renames = (
    ("attention.self.", "attention."),
    ("attention.output.dense.", "attention.output."),
    ("attention.output.LayerNorm.", "attention.norm."),
    ("intermediate.dense.", "feed_forward.expand."),
    (".output.dense.", ".feed_forward.contract."),
    (".output.LayerNorm.", ".feed_forward.norm."),
)
SINGLE_STREAM: Renames = (("encoder.layer.", "stack.layers."), *LAYER)
WORD_HEAD: Renames = (
    ("cls.predictions.transform.dense.", "mlm.head.transform.dense."),
    ("cls.predictions.transform.LayerNorm.", "mlm.head.transform.norm."),
    ("cls.predictions.bias", "mlm.head.bias"),
    ("cls.predictions.decoder.bias", "mlm.head.bias"),  # the same once more, in some files
)
MATCHING_HEAD: Renames = (("cls.seq_relationship.", "itm.head.dense."),)
WORD_COPIES = {"cls.predictions.decoder.weight": "embeddings.text.words.weight"}
"""What of BERT's word head is an encoder's tensor once more."""

PAIR = {"weight": "bias", "bias": "weight"}
"""How the name of a layer's one parameter ends, and that of the other."""

BUFFERS = frozenset(
    {
        *("embeddings.position_ids", "embeddings.token_type_ids"),
        *("embeddings.text_embeddings.position_ids", "text_embeddings.position_ids"),  # of ViLT
    }
)
A_BUFFER = "a buffer, which holds no weight"
A_COPY = "a copy of {}"
NO_OBJECTIVE = "a prediction head of no objective of ours"


@dataclass(frozen=True)
class Naming:
    """How a format names the weights of one architecture.

    Args:
        source: the format.
        model: the option of ``conf/model``.
        title: for messages.
        prefixes: what may stand before every weight of the encoder, the first that fits is taken; None for whatever
            stands before the first marker. Without one, heads stand beside the encoder's parts.
        markers: names (after the prefix) that a file must have to be this architecture.
        renames: replacements in the encoder's names, in order.
        heads: what is replaced by what in names outside the prefix, to heads of our objectives: a layer's name with its
            point, of ``weight`` and ``bias``, or a whole name. A layer's one parameter without the other is unexpected.
        copies: names outside the prefix that must equal a tensor of ours; where they do not, they are unexpected.
        left_out: patterns of layers outside the prefix that are of no objective of ours, up to ``weight`` or ``bias``;
            both have to be there.
        networks: starts of names of whole networks beside the encoder, which nothing of ours takes.
        changes: what is done to a tensor, by our name.
    """

    source: str
    model: str
    title: str
    prefixes: tuple[str, ...] | None
    markers: tuple[str, ...]
    renames: Renames
    heads: Renames = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    changes: Mapping[str, Change] = field(default_factory=dict)

    def convert(self, contents: Contents) -> Conversion | None:
        """Return what the file holds by our names if it is of this architecture, else None."""
        names = plain_names(contents.tensors)
        prefix = self._prefix(names)
        if prefix is None:
            return None
        found = Conversion(self.source, self.title, {}, {}, model=self.model)
        outside = {}
        for name, key in names.items():
            if not name.startswith(prefix) or (not prefix and self._is_known(name)):
                outside[name.removeprefix(_parent(prefix))] = key
            elif name.removeprefix(prefix) in BUFFERS:
                found.left_out[key] = A_BUFFER
            else:
                self._take(found, renamed(name.removeprefix(prefix), self.renames), key, contents)
        self._sort_heads(found, outside, contents)
        return found

    def _prefix(self, names: Mapping[str, str]) -> str | None:
        first, *others = self.markers
        candidates = self.prefixes
        if candidates is None:
            candidates = tuple(name.removesuffix(first) for name in names if name.endswith(first))
        whole = (prefix for prefix in candidates if all(prefix + marker in names for marker in (first, *others)))
        return next(whole, None)

    def _take(self, found: Conversion, ours: str, key: str, contents: Contents) -> None:
        ours = key if ours in found.tensors else ours  # two of one name: the second is unexpected
        tensor = contents.tensors[key]
        found.tensors[ours] = self.changes[ours](tensor) if ours in self.changes else tensor
        found.original[ours] = key

    def _sort_heads(self, found: Conversion, outside: Mapping[str, str], contents: Contents) -> None:
        by_kind = sorted(outside.items(), key=lambda item: item[0] in self.copies)  # copies last: they are compared
        for name, key in by_kind:
            ours = self.copies.get(name) or self._head(name)
            if not self._is_whole(name, outside):
                self._take(found, key, key, contents)
                continue
            twin = None if ours is None else found.tensors.get(ours, found.heads.get(ours))
            if ours is not None and twin is None and name not in self.copies:
                tensor = contents.tensors[key]
                found.heads[ours] = self.changes[ours](tensor) if ours in self.changes else tensor
                found.head_names[ours] = key
            elif ours is not None and same(contents.tensors[key], twin):
                found.left_out[key] = A_COPY.format(ours)
            elif ours is None and self._is_known(name):
                found.left_out[key] = NO_OBJECTIVE
            else:
                self._take(found, key, key, contents)

    def _head(self, name: str) -> str | None:
        """Return our name of a head's weight, None where no objective of ours has it."""
        matching = (
            new + name.removeprefix(old) for old, new in self.heads if name in (old, *(old + part for part in PAIR))
        )
        return next(matching, None)

    def _is_known(self, name: str) -> bool:
        is_left_out = any(re.fullmatch(f"{layer}({'|'.join(PAIR)})", name) for layer in self.left_out)
        return is_left_out or name in self.copies or self._head(name) is not None or name.startswith(self.networks)

    def _is_whole(self, name: str, outside: Mapping[str, str]) -> bool:
        """Whether the other parameter of a head's layer is there too; true of what is no layer's."""
        part = next((part for part in PAIR if name.endswith(part)), "")
        is_alone = name in self.copies or name in dict(self.heads) or name.startswith(self.networks)
        return is_alone or not part or name.removesuffix(part) + PAIR[part] in outside


def plain_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return a file's names by what they would be without DataParallel and in today's spelling.

    Of two that would be the same the second keeps its own, so that no tensor is lost.
    """
    found: dict[str, str] = {}
    for key in tensors:
        name = _modern(key.removeprefix(PARALLEL))
        found[key if name in found else name] = key
    return found


def renamed(name: str, renames: Renames) -> str:
    """Return ``name`` after all replacements, in order."""
    for old, new in renames:
        name = name.replace(old, new)
    return name


def same(tensor: Tensor, other: Tensor | None) -> bool:
    """Whether two tensors hold the same numbers in the same shape."""
    return other is not None and tensor.shape == other.shape and torch.equal(tensor, other.to(tensor.dtype))


def _modern(key: str) -> str:
    for old, new in OLD_NORM_NAMES:
        if key.endswith(old):
            return key.removesuffix(old) + new
    return key


def _parent(prefix: str) -> str:
    """Return what stands before the prefix's last part: ``bert.`` of ``bert.bert.``."""
    return prefix.removesuffix(".").rpartition(".")[0] + "." if "." in prefix.removesuffix(".") else ""
