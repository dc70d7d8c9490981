"""What the papers claim, and which statistic tests it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from vlp.published.tables import folder, read_lines

COLUMNS = ("paper", "claim_id", "claim", "statistic", "direction", "artefact")


@dataclass(frozen=True)
class Claim:
    """A claim of a paper.

    Args:
        paper: short name.
        claim_id: such as ``V6``.
        claim: in a sentence.
        statistic: the measured quantity that tests it.
        direction: the outcome the paper reports.
        artefacts: the tables and figures it shows in, as ``<paper>/<artefact>``.
    """

    paper: str
    claim_id: str
    claim: str
    statistic: str
    direction: str
    artefacts: tuple[str, ...]


@cache
def claims(paper: str | None = None) -> tuple[Claim, ...]:
    """Return the claims of all papers (of one), in the papers' order."""
    found = [_claim(line) for _, line in read_lines(folder() / "claims.csv", COLUMNS)]
    return tuple(claim for claim in found if paper in (None, claim.paper))


def _claim(line: dict[str, str]) -> Claim:
    words = {name: line[name] for name in COLUMNS if name != "artefact"}
    return Claim(**words, artefacts=tuple(line["artefact"].split(";")))
