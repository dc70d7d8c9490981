"""What every format turns a file into: tensors by our names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Resize = Callable[[str, Tensor, torch.Size], Tensor]


@dataclass(frozen=True)
class Conversion:
    """What a file holds, by our names: every tensor of it is in ``tensors``, ``heads`` or ``left_out``.

    Args:
        source: the format, as `LoadReport.source` says it.
        description: what the file seems to hold, for messages.
        tensors: of an encoder; a name that no model of ours has is unexpected.
        original: the file's own name of each of them.
        heads: of objectives, as ``mlm.head.bias``; matching heads have class 1 for "matched", whatever the file has.
        head_names: the file's own name of each of those.
        left_out: the file's names of tensors that nothing of ours takes, and why.
        model: the option of ``conf/model`` it was made for; empty where the file does not say.
        options: keys of that option, by dots, that have to be set to build it, and to what.
        part: what of the encoder the file is about, by the start of our names; empty for all of it.
        released_behaviour: whether it was trained with what its release does wrong; None where there is nothing wrong,
            or nobody knows.
        resize: makes a tensor of our name the shape that the model has, where the format knows how; what it gives is
            checked like any other.
    """

    source: str
    description: str
    tensors: dict[str, Tensor]
    original: dict[str, str]
    heads: dict[str, Tensor] = field(default_factory=dict)
    head_names: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    model: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""
    released_behaviour: bool | None = None
    resize: Resize | None = None

    @property
    def asked(self) -> str:
        """What to put on a command line to build the model; empty where the file does not say."""
        if not self.model:
            return ""
        values = {key: "null" if value is None else value for key, value in self.options.items()}
        return " ".join([f"model={self.model}", *(f"model.{key}={value}" for key, value in values.items())])
