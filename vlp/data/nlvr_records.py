"""Records of NLVR: reading and checking one official JSON-lines file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp.data.fields import Fields
from vlp.data.json_lines import read_json_lines

SHAPES = ("square", "triangle", "circle")
COLOURS = {"Black": "black", "Yellow": "yellow", "#0099ff": "blue"}
"""Colours as the files spell them, and as the sentences do."""

SIZES = (10, 20, 30)
NUM_IMAGES = 6
PANEL_SIDE = 100
LARGEST_PANEL = 100
"""Items of a panel; the release has up to 8."""


@dataclass(frozen=True)
class Item:
    """A shape in a panel: upper left corner in pixels from the panel's, side in pixels."""

    shape: str
    colour: str
    x: int
    y: int
    size: int


@dataclass(frozen=True)
class Record:
    """One line of the file: a sentence, three panels, and which of the six images are on disk."""

    split: str
    identifier: str
    folder: Path
    sentence: str
    label: str
    panels: tuple[tuple[Item, ...], ...]
    images: tuple[int, ...]

    @property
    def group(self) -> str:
        """The set of four that the record belongs to: split and first number of the identifier."""
        return f"{self.split}-{self.identifier.split('-')[0]}"

    def image_path(self, number: int) -> Path:
        """Return the file of image ``number``."""
        return self.folder / f"{self.split}-{self.identifier}-{number}.png"


def read_records(root: Path, split: str) -> list[Record]:
    """Return the records of ``root/split/split.json`` in order.

    Raises:
        ValueError: at the first bad record, naming file, line, field, what was found and what was expected.
    """
    path = root / split / f"{split}.json"
    names: dict[Path, frozenset[str]] = {}
    images = path.parent / "images"
    return [_read_record(_Fields(where, values), images, split, names) for where, values in read_json_lines(path)]


def _read_record(fields: _Fields, images: Path, split: str, names: dict[Path, frozenset[str]]) -> Record:
    identifier, directory = fields.name("identifier"), fields.name("directory")
    folder = images / directory
    if folder not in names:
        names[folder] = frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()
    files = [f"{split}-{identifier}-{number}.png" for number in range(NUM_IMAGES)]
    found = tuple(number for number, file in enumerate(files) if file in names[folder])
    if not found:
        raise ValueError(f"{fields.where}: no image of it; expected {folder / files[0]} or one of the five others")
    panels = fields.panels("structured_rep")
    return Record(
        split, identifier, folder, fields.text("sentence"), fields.choice("label", ("true", "false")), panels, found
    )


class _Fields(Fields):
    """Reads the fields of a record."""

    def place(self, field: str, size: int) -> int:
        value = self.get(field)
        if type(value) is not int or not 0 <= value <= PANEL_SIDE - size:
            raise self.error(field, value, f"a whole number from 0 to {PANEL_SIDE - size}")
        return value

    def panels(self, field: str) -> tuple[tuple[Item, ...], ...]:
        value = self.get(field)
        if not isinstance(value, list) or len(value) != 3 or not all(isinstance(panel, list) for panel in value):
            raise self.error(field, value, "a list of three lists")
        if (longest := max(map(len, value))) > LARGEST_PANEL:
            raise ValueError(f"{self.where}: field {field}: found {longest} items, expected at most {LARGEST_PANEL}")
        return tuple(
            tuple(self._item(item, f"{field}[{panel}][{at}]") for at, item in enumerate(items))
            for panel, items in enumerate(value)
        )

    def _item(self, value: Any, name: str) -> Item:
        if not isinstance(value, dict):
            raise self.error(name, value, "an object")
        fields = _Fields(f"{self.where}, {name}", value)
        size = fields.choice("size", SIZES)
        shape, colour = fields.choice("type", SHAPES), fields.choice("color", tuple(COLOURS))
        return Item(shape, colour, fields.place("x_loc", size), fields.place("y_loc", size), size)
