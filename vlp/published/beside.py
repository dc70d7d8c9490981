"""Standing measured rows beside printed numbers, and saying what is not comparable and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from vlp.published.artefacts import Artefact, Query
from vlp.published.tables import PublishedCell, PublishedTable, load
from vlp.results import Record

GENERATED = "scenes"


class Setting(NamedTuple):
    """What all numbers of one comparison share; ``weights`` names them where a model has several that are not seeds."""

    dataset: str
    size: str
    is_random: bool
    weights: str = ""

    @property
    def is_generated(self) -> bool:
        """Whether the data is a generated world, whose numbers cannot be set beside those on photographs."""
        return self.dataset == GENERATED

    @property
    def words(self) -> str:
        """The setting for a reader: ``scenes, tiny``."""
        weights = "random weights" if self.is_random else self.weights
        return ", ".join(filter(None, [self.dataset, self.size, weights]))


@dataclass(frozen=True)
class Measured:
    """A measured number, as stored or in a printed unit.

    Args:
        value: the number; the mean where several seeds were run.
        low: lower end of its interval, None where a row has none; the lowest of several seeds.
        high: the upper end; the highest of several seeds.
        n: items behind it, the fewest of several seeds.
        num_seeds: runs that differ by seed.
        num_prober_seeds: seeds of the prober in each; 0 where nothing was trained.
        layer: the layer it was looked up at, from 1.
        depth: how many layers were measured.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    num_seeds: int
    num_prober_seeds: int = 0
    layer: int | None = None
    depth: int | None = None

    def times(self, scale: float) -> Measured:
        """Return the number in another unit."""
        low, high = (None if end is None else end * scale for end in (self.low, self.high))
        seeds = (self.n, self.num_seeds, self.num_prober_seeds, self.layer, self.depth)
        return Measured(self.value * scale, low, high, *seeds)


@dataclass(frozen=True)
class CellBeside:
    """A printed number, ours in its unit (None where it was not measured), and what is to be known of the pair."""

    printed: PublishedCell
    ours: Measured | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class TableBeside:
    """A printed table with the numbers measured in one setting, and why they cannot be compared as they stand."""

    artefact: Artefact
    printed: PublishedTable
    setting: Setting
    cells: tuple[CellBeside, ...]
    reasons: tuple[str, ...]

    def find(self, row: str, column: str) -> CellBeside | None:
        """Return the cell under these heads."""
        heads = (row, column)
        return next((cell for cell in self.cells if (cell.printed.row, cell.printed.column) == heads), None)


def stand_beside(artefact: Artefact, records: Iterable[Record]) -> list[TableBeside]:
    """Return the printed table beside ``records``, once for every setting in which a number of it was measured."""
    table = load(artefact.name)
    tables = []
    for setting, found in by_setting(artefact.rows_of(records)).items():
        cells = tuple(_beside(artefact, cell, found) for cell in table.cells)
        if any(cell.ours is not None for cell in cells):
            reasons = (*_reasons(artefact, setting, cells, found), *_notes(artefact, cells, found))
            tables.append(TableBeside(artefact, table, setting, cells, reasons))
    return tables


def by_setting(records: Iterable[Record]) -> dict[Setting, list[Record]]:
    """Return rows by what a comparison must not mix: data, size, and of each model weights that are not seeds."""
    groups: dict[Setting, list[Record]] = {}
    for record in records:
        groups.setdefault(Setting(record.dataset, record.size, record.weights == "random"), []).append(record)
    return {each: rows for setting, found in groups.items() for each, rows in _by_weights(setting, found)}


def _by_weights(setting: Setting, records: Sequence[Record]) -> Iterator[tuple[Setting, list[Record]]]:
    """Yield the rows of one checkpoint a model, or of checkpoints that stand for seeds, in the order of their names."""
    of_each = {model: _alternatives(records, model) for model in dict.fromkeys(map(_model, records))}
    for index in range(max(map(len, of_each.values()))):
        chosen = {model: sets[index] for model, sets in of_each.items() if index < len(sets)}
        names = ", ".join(f"{model[0]} {name}" for model in sorted(chosen) for name in chosen[model])
        is_one_of_many = any(len(sets) > 1 for sets in of_each.values())
        found = [record for record in records if record.weights in chosen.get(_model(record), ())]
        yield (setting._replace(weights=names) if is_one_of_many else setting), found


def _model(record: Record) -> tuple[str, str]:
    """Return the model of a row; those of a recipe's rows are as many models."""
    return record.model, record.row


def _alternatives(records: Sequence[Record], model: tuple[str, str]) -> list[list[str]]:
    """Return the weights of ``model`` in lists that may be averaged: of one origin, and no two with the same seed."""
    seeds: dict[str, set[int]] = {}
    for record in records:
        if _model(record) == model:
            seeds.setdefault(record.weights, set()).add(record.seed)
    lists: list[list[str]] = []
    for name in sorted(seeds, key=lambda name: (_origin(name), min(seeds[name]), name)):
        fitting = (
            other
            for other in lists
            if _origin(other[0]) == _origin(name) and all(seeds[it].isdisjoint(seeds[name]) for it in other)
        )
        place = next(fitting, None)
        if place is None:
            lists.append([name])
        else:
            place.append(name)
    return lists


def _origin(weights: str) -> str:
    """Return the name of weights without the digits of their sha256: the recipe's, or the file's."""
    return weights.rpartition("-")[0]


def look_up(query: Query, records: Sequence[Record]) -> Measured | None:
    """Return the number that ``query`` asks for, None where no row fits.

    A printed layer is looked up at the same relative depth (`relative_layer`); of prober seeds, the mean row counts.
    Rows that differ by seed are averaged; their intervals are spanned, which is wider than that of the mean.
    """
    fitting = rows_for(query, records)
    layer = depth = None
    if query.layer is not None:
        depth = max((record.layer for record in fitting if record.layer), default=None)
        layer = relative_layer(query.layer, query.depth or query.layer, depth) if depth else None
    at_place = [
        record
        for record in fitting
        if "layer" in query.columns or (record.layer == layer and (query.layer is None or depth))
    ]
    means = [record for record in at_place if record.prober_seed is None]
    if not means:
        return None
    ends = [(record.ci_low, record.ci_high) for record in means]
    lows, highs = ([end for end in side if end is not None] for side in zip(*ends, strict=True))
    has_all = len(lows) == len(means)
    return Measured(
        value=fmean(record.value for record in means),
        low=min(lows) if has_all else None,
        high=max(highs) if has_all else None,
        n=min(record.n for record in means),
        num_seeds=len({record.seed for record in means}),
        num_prober_seeds=len({record.prober_seed for record in at_place} - {None}),
        layer=layer,
        depth=depth,
    )


def rows_for(query: Query, records: Iterable[Record]) -> list[Record]:
    """Return the rows that hold what ``query`` asks for, at whatever layer."""
    return [record for record in records if all(getattr(record, name) == it for name, it in query.columns.items())]


def relative_layer(layer: int, depth: int, our_depth: int) -> int:
    """Return our layer at the depth of a printed one: first to first, last to last, between in proportion.

    >>> [relative_layer(layer, 12, 4) for layer in (1, 5, 12)]
    [1, 2, 4]
    """
    if depth == our_depth:
        return layer
    share = (layer - 1) / (depth - 1) if depth > 1 else 1.0
    return 1 + round(share * (our_depth - 1))


def _beside(artefact: Artefact, cell: PublishedCell, records: Sequence[Record]) -> CellBeside:
    query = artefact.query(cell.row, cell.column)
    found = None if query is None else look_up(query, records)
    ours = None if found is None else found.times(cell.scale)
    remarks = [cell.remark] if cell.remark else []
    if ours is not None:
        remarks += artefact.remark(artefact, cell.row, cell.column, records)
    if query is not None and ours is not None and ours.layer is not None and ours.depth != query.depth:
        remarks.append(f"ours is layer {ours.layer} of {ours.depth}, for layer {query.layer} of {query.depth}")
    return CellBeside(cell, ours, tuple(remarks))


def _notes(artefact: Artefact, cells: Sequence[CellBeside], records: Sequence[Record]) -> Iterator[str]:
    """Yield what is to be known of single numbers, each under the head of its row."""
    for cell in cells:
        if cell.ours is not None:
            for remark in artefact.remark(artefact, cell.printed.row, cell.printed.column, records):
                yield f"{cell.printed.row}: {remark}."


def _reasons(
    artefact: Artefact, setting: Setting, cells: Sequence[CellBeside], records: Sequence[Record]
) -> Iterator[str]:
    setup = artefact.setup
    if setting.is_generated:
        world = "a generated world of drawn shapes and templated captions"
        yield f"Data: {setting.dataset} is {world}; the paper has {setup.data}."
    elif setting.dataset != setup.dataset:
        yield f"Data: measured on {setting.dataset}; the paper has {setup.data}."
    queries = [artefact.query(cell.printed.row, cell.printed.column) for cell in cells if cell.ours is not None]
    used = [record for query in queries if query is not None for record in rows_for(query, records)]
    weights = sorted({f"{record.model} {record.weights}" for record in used})
    yield f"Weights: {', '.join(weights)}; the paper has {setup.weights}."
    wanted = [cell for cell in cells if artefact.query(cell.printed.row, cell.printed.column) is not None]
    if left := sum(cell.ours is None for cell in wanted):
        yield f"Not measured: {left} of the {len(wanted)} numbers."
    if setting.size != setup.size:
        yield f"Size: models here are {setting.size}, the paper's are {setup.size}."
    if any(cell.ours is not None and cell.ours.num_seeds > 1 for cell in cells):
        yield "Seeds: a number is the mean of its seeds; its bracket is the span of the seeds' intervals."
    if any(cell.ours is not None and cell.ours.layer is not None for cell in cells):
        yield "Layers: a printed layer stands beside ours at the same relative depth, first to first and last to last."
    yield from artefact.remarks
