"""How each run was made, from its `run.json`, as lines to read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vlp.report.reading import Cell, Training

MOST = 1e18
"""Numbers from here on are no time and no size."""


@dataclass(frozen=True)
class Provenance:
    """One run: what it is called, and (name, value) lines; long values, such as a config, stand apart as JSON text."""

    title: str
    lines: tuple[tuple[str, str], ...]
    attachments: tuple[tuple[str, str], ...]


def provenance(run: Cell | Training) -> Provenance:
    """Return how ``run`` was made: what is known first and in words, then whatever else its `run.json` holds."""
    known = [name for name in FORMATS if name in run.run]
    names = [*known, *sorted(set(run.run) - set(known))]
    lines, attachments = [], []
    for name in names:
        value = run.run[name]
        if isinstance(value, Mapping) and name not in FORMATS and _is_nested(value):
            attachments.append((_title(name), json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)))
        elif value not in (None, "", [], {}):
            lines.append((_title(name), FORMATS.get(name, _plain)(value)))
    return Provenance(title_of(run), tuple(lines), tuple(attachments))


def title_of(run: Cell | Training) -> str:
    """Return a short name of ``run``: what it is and the folder it stands in."""
    if isinstance(run, Training):
        return f"Training {run.path.name}"
    subjects = dict.fromkeys((record.probe, record.model, record.weights, record.dataset) for record in run.records)
    first = " · ".join(filter(None, next(iter(subjects))))
    more = f" and {len(subjects) - 1} more" if len(subjects) > 1 else ""
    return f"Cell {run.path.name}: {first}{more}"


def duration(seconds: float) -> str:
    """Return a time in the two largest units that it fills: ``4 min 20 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def size(num_bytes: float) -> str:
    """Return a size in MiB or GiB."""
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{name} {_plain(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(_plain(entry) for entry in value)
    return str(value)


def _number(as_words: Callable[[float], str]) -> Callable[[Any], str]:
    return lambda value: as_words(value) if isinstance(value, int | float) and 0 <= value < MOST else _plain(value)


def _listed(value: Any) -> str:
    return ", ".join(_plain(value).splitlines())


def _is_nested(value: Mapping[str, Any]) -> bool:
    return any(isinstance(entry, Mapping | list) for entry in value.values())


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


FORMATS: dict[str, Callable[[Any], str]] = {
    "own_command": _plain,
    "command": _plain,
    "started": _plain,
    "wall_time_s": _number(duration),
    "peak_memory_bytes": _number(size),
    "device": _plain,
    "seed": _plain,
    "prober_seeds": _listed,
    "weights": _plain,
    "weights_sha256": _plain,
    "git_commit": _plain,
    "versions": _listed,
    "content_hash": _plain,
}
"""Keys of `run.json` in the order they are shown, and how each is put into words."""

_TITLES = {
    "own_command": "this run alone",
    "command": "asked for by",
    "wall_time_s": "wall time",
    "peak_memory_bytes": "peak memory",
    "weights_sha256": "weights, sha256",
}
