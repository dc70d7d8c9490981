"""What it takes to stand measured rows in a printed table: plain data, one `Artefact` a table or figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vlp.published.verdicts import Part
from vlp.results import Record

Words = Mapping[str, str | int | None]
"""Columns of ``results.csv`` and what stands in them."""


@dataclass(frozen=True)
class Query:
    """Which row of ``results.csv`` stands beside a printed number.

    Args:
        columns: what its columns hold.
        layer: the layer as printed, from 1; None where the number is of no layer.
        depth: how many layers the paper's model has, among which ``layer`` counts.
    """

    columns: Words = field(default_factory=dict)
    layer: int | None = None
    depth: int | None = None

    def __or__(self, other: Query) -> Query:
        """Return both together; where they differ, ``other``."""
        layer = self.layer if other.layer is None else other.layer
        depth = self.depth if other.depth is None else other.depth
        return Query({**self.columns, **other.columns}, layer, depth)

    def under(self, condition: str) -> Query:
        """Return the query for the same number of a control."""
        return self | Query({"condition": condition})


Remark = Callable[["Artefact", str, str, Sequence[Record]], list[str]]
"""Takes the heads of a row and a column, and rows of one `Setting`; returns what is to be known of the number there."""

Test = Callable[["Artefact", Sequence[Record]], list[list[Part]]]
"""Takes a claim apart: for each of its sides (a model, a probe) the printed numbers it rests on, measured or not; rows
are those of one `Setting`."""


@dataclass(frozen=True)
class Setup:
    """What the paper measured with, as words: ``Flickr30k Entities``, ``released UNITER-base and LXMERT-base``."""

    dataset: str
    data: str
    weights: str
    size: str = "base"


@dataclass(frozen=True)
class Artefact:
    """A printed table or figure that can be measured here.

    Args:
        name: ``<paper>/<artefact>``.
        experiment: the option of ``conf/experiment`` that measures it.
        setup: what the paper measured with.
        common: what holds for every number.
        rows: a query for each printed row head.
        columns: a query for each printed column head; a number is looked up by all three.
        remarks: what is to be known of the comparison, whatever was run.
        claims: how claims of the paper, by their id, are tested on these rows.
        others: probes of whose rows it holds no number, and which remarks and claims rest on.
        remark: what is to be known of a single number.
        pictures: which files among a cell's figures are pictures that the paper's are to be held against, as a pattern.
    """

    name: str
    experiment: str
    setup: Setup
    common: Query
    rows: Mapping[str, Query]
    columns: Mapping[str, Query]
    remarks: tuple[str, ...] = ()
    claims: Mapping[str, Test] = field(default_factory=dict)
    others: frozenset[str] = frozenset()
    remark: Remark = field(default=lambda artefact, row, column, records: [])
    pictures: str = ""

    @property
    def paper(self) -> str:
        """The paper's short name."""
        return self.name.partition("/")[0]

    @property
    def probes(self) -> frozenset[str]:
        """The probes of whose rows it holds a number."""
        queries = (self.common, *self.rows.values(), *self.columns.values())
        return frozenset(str(query.columns["probe"]) for query in queries if "probe" in query.columns)

    def rows_of(self, records: Iterable[Record]) -> list[Record]:
        """Return the rows of its probes, and of the others that it rests on."""
        return [record for record in records if record.probe in self.probes | self.others]

    def query(self, row: str, column: str) -> Query | None:
        """Return where the number under these heads is looked up.

        None where it is not measured here, or the paper's model has no such layer.
        """
        if row not in self.rows or column not in self.columns:
            return None
        query = self.common | self.rows[row] | self.columns[column]
        is_beyond = query.layer is not None and query.depth is not None and query.layer > query.depth
        return None if is_beyond else query
