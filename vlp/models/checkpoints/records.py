"""What a checkpoint says about itself: data that anybody may have written, checked before anybody relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlp.configs.showing import shown
from vlp.configs.trees import check_tree

TEXTS = ("size", "tokenizer", "dataset", "config_hash")
NUMBERS = ("vocab_size", "feature_width", "num_classes")
MAPPINGS = ("model", "features", "region_statistics", "objective")

LARGEST_WIDTH = 1_000_000
"""Of a vocabulary, a feature or a class distribution."""


def checked_record(record: Any, where: str) -> dict[str, Any]:
    """Return the record of a checkpoint of ours; keys may be missing or null, and others may be there.

    What it may build is checked when it is built (`vlp.configs.instantiate`).

    Raises:
        ValueError: if it is no plain data, or a value is not of its kind; names ``where`` and the key.
    """
    check_tree(record, where)
    if not isinstance(record, Mapping):
        raise ValueError(f"{where}: found {shown(record)}, expected a mapping")
    for key, value in record.items():
        if value is not None and (expected := _objection(key, value)):
            raise ValueError(f"{where}, key {key}: found {shown(value)}, expected {expected}")
    return dict(record)


def _objection(key: str, value: Any) -> str:
    if key in TEXTS and not isinstance(value, str):
        return "a text"
    if key in MAPPINGS and not isinstance(value, Mapping):
        return "a mapping"
    if key in NUMBERS and not (type(value) is int and 1 <= value <= LARGEST_WIDTH):
        return f"a whole number from 1 to {LARGEST_WIDTH:,}"
    return ""
