"""The table of public checkpoints: what it says follows from documented names and shapes, and tells files apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import torch

from tests.models.checkpoints import released
from tests.models.checkpoints.test_released import BASE, FORMATS, small
from tests.models.peers import Sizes
from vlp.configs import option_names
from vlp.models.checkpoints import published as module
from vlp.models.checkpoints.files import Contents
from vlp.models.checkpoints.loading import convert
from vlp.models.checkpoints.published import Published, differences, name_of, published, resembling

FILES = {"volta_lxmert_original": "pytorch_model_19.bin", "volta_lxmert_released": "lxmert_checkpoint_19.bin"}
"""Of VOLTA's that are built by other keys of an option: what tells them from the others of that option."""
NOT_VERIFIED = "not verified"
"""What stands in the table where a page was looked for in vain."""
SOURCES = {"uniter", "lxmert", "visualbert", "volta", "vilt", "huggingface", "swin", "timm"}


@pytest.mark.parametrize("row", published(), ids=lambda row: f"{row.names[0]}-{row.model}")
def test_a_row_says_what_it_has_to(row: Published):
    assert row.names
    assert row.source in SOURCES
    assert row.model in option_names("model")
    assert row.size in (None, "base")
    assert row.page.startswith("https://")
    assert row.licence
    assert row.features
    assert date.fromisoformat(row.checked)
    for source in (row.names_from, row.licence_from):
        assert source == NOT_VERIFIED or source.startswith("https://")
    assert (row.licence == NOT_VERIFIED) == (row.licence_from == NOT_VERIFIED)
    assert bool(row.instead) == bool(row.dead_says) == row.dead


def test_what_is_known_to_be_dead_is_marked():
    assert {row.names[0] for row in published() if row.dead} == {"uniter-base.pt", "uniter-large.pt"}


def rows_of(name: str) -> list[Published]:
    """The rows of base size that hold what a format of the tests writes."""
    kin = (FORMATS[name].source or name, FORMATS[name].model)
    rows = [row for row in published() if (row.source, row.model) == kin and row.size]
    if name in FILES:
        return [row for row in rows if FILES[name] in row.names]
    return [row for row in rows if not {*row.names} & {*FILES.values()}]


@pytest.mark.parametrize("name", ["uniter", "lxmert", *(key for key in FORMATS if key.startswith("volta"))])
def test_counts_are_those_of_the_documented_names_and_shapes(name, monkeypatch):
    monkeypatch.setattr(released, "drawn", lambda shapes: {k: torch.empty(v, device="meta") for k, v in shapes.items()})
    known = FORMATS[name]
    tensors = known.write(Sizes(known.base_layers, vocab=known.vocab, **BASE), **known.at_base)
    numbers = sum({id(tensor): tensor.numel() for tensor in tensors.values()}.values())
    rows = rows_of(name)
    assert rows
    for row in rows:
        assert row.tensors in (None, len(tensors))
        assert row.parameters in (None, numbers)
        assert row.vocabulary == known.vocab
        assert row.feature_width == BASE["feature_width"]


@pytest.fixture
def table(monkeypatch) -> Published:
    """A table of one row, for the small UNITER of the tests and for one of another name."""
    contents, _ = small("uniter")
    row = next(row for row in published() if row.names == ("uniter-base.pt",))
    numbers = sum({id(tensor): tensor.numel() for tensor in contents.tensors.values()}.values())
    row = replace(row, tensors=len(contents.tensors), parameters=numbers, vocabulary=30, feature_width=10)
    monkeypatch.setattr(module, "published", lambda: (row, replace(row, names=("other.pt",), parameters=1)))
    return row


def test_a_file_is_known_by_its_name_or_by_what_it_holds(table):
    contents, _ = small("uniter")
    for name in ("uniter-base.pt", "renamed.pt"):
        renamed = replace(contents, path=Path(name))
        assert resembling(renamed, convert(renamed)) == (table,)


def test_a_file_of_that_name_that_holds_something_else_is_told(table):
    contents, _ = small("uniter")
    tensors = {**contents.tensors, "itm_output.weight": torch.zeros(3, 16)}
    del tensors["itm_output.bias"]
    wrong = Contents(Path("uniter-base.pt"), tensors)
    (row,) = resembling(wrong, convert(wrong))
    count, numbers = table.tensors, table.parameters
    assert list(differences(row, wrong, convert(wrong))) == [
        f"{count - 1:,} tensors, published {count:,}",
        f"{numbers + 16 - 2:,} parameters, published {numbers:,}",
    ]


def test_a_file_of_no_such_name_or_content_resembles_none(table):
    contents, _ = small("uniter")
    tensors = {key: value for key, value in contents.tensors.items() if not key.startswith("itm_output")}
    renamed = Contents(Path("renamed.pt"), tensors)
    assert resembling(renamed, convert(renamed)) == ()


def test_a_folder_gives_its_name_to_the_file_in_it():
    assert name_of(Path("weights/lxmert-base-uncased/model.safetensors")) == "lxmert-base-uncased"
    assert name_of(Path("weights/uniter-base.pt")) == "uniter-base.pt"
