"""What every format turns a file into: tensors by our names."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Conversion:
    """Tensors of an encoder by our names; prediction heads and buffers that hold no weights are left out.

    Args:
        source: the format, as `LoadReport.source` says it.
        description: what the file seems to hold, for messages.
        tensors: by our names; a name that no model of ours has is unexpected.
        original: the file's own name of each.
    """

    source: str
    description: str
    tensors: dict[str, Tensor]
    original: dict[str, str]
