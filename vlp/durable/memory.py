"""What was worked out from large files that seldom change, in the user's cache folder: losing it costs time only."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlp.durable.digests import state_key
from vlp.durable.files import cache_folder, replacing

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]


def remembered_arrays(kind: str, files: Sequence[Path], compute: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that ``compute`` makes of ``files``, kept until one of those changes.

    Args:
        kind: what is worked out, with a number that is raised when that changes.
        files: what it is worked out from.
        compute: returns arrays, none of objects.
    """
    memory = cache_folder(kind) / f"{state_key(files=files)}.npz"
    try:
        with np.load(memory, allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or damaged
        arrays = compute()
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        with replacing(memory) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        log.warning("%s; it is worked out anew each time", error)
    return arrays
