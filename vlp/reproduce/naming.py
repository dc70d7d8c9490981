"""What a user asks for by name: one artefact, all of a paper, or all; and the folder each is measured into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlp.configs import did_you_mean
from vlp.published import ARTEFACTS, PAPERS, artefact_names
from vlp.reproduce.state import ROOT

ALL = "all"


@dataclass(frozen=True)
class Request:
    """What to do.

    Args:
        folders: the folder of each artefact asked for, by name.
        left_out: artefacts of the papers asked for that have no experiment yet.
        out: where the report goes.
    """

    folders: dict[str, Path]
    left_out: tuple[str, ...]
    out: Path


def request(names: Sequence[str], out: Path | None = None) -> Request:
    """Return what ``names`` ask for.

    One artefact is measured into ``out`` itself; of a paper, or of several names, each into a folder of its own below.

    Args:
        names: ``value/table3``, ``value``, ``all``.
        out: where to, in place of ``outputs/reproduce/<name>``.

    Raises:
        ValueError: if a name is none, or is one of an artefact without an experiment.
    """
    asked = tuple(dict.fromkeys(artefact for name in names for artefact in expand(name)))
    runnable = tuple(name for name in asked if name in ARTEFACTS)
    only = names[0] if len(names) == 1 else ALL
    folder = out or (ROOT if only == ALL else ROOT / only)
    folders = {name: folder / name.removeprefix(only).lstrip("/") for name in runnable}
    return Request(folders, tuple(name for name in asked if name not in ARTEFACTS), folder)


def expand(name: str) -> tuple[str, ...]:
    """Return the artefacts that ``name`` stands for.

    Raises:
        ValueError: if it stands for none, or for one without an experiment.
    """
    if name == ALL:
        return artefact_names()
    if name in PAPERS:
        return artefact_names(name)
    if name not in artefact_names():
        known = (ALL, *PAPERS, *artefact_names())
        raise ValueError(f"{name} is no published table or figure{did_you_mean(name, known)}; --list shows all")
    if name not in ARTEFACTS:
        raise ValueError(f"{name} cannot be measured yet: no experiment yet; there is {', '.join(ARTEFACTS)}")
    return (name,)
