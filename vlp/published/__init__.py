"""What the papers printed and claim, and how rows measured here stand beside it."""

from vlp.published.artefacts import Artefact
from vlp.published.beside import CellBeside, Measured, Setting, TableBeside, stand_beside
from vlp.published.claims import Claim, claims
from vlp.published.registry import ARTEFACTS, Judgement, judge, papers_of, papers_with, tables_beside
from vlp.published.tables import PAPERS, TITLES, PublishedCell, PublishedTable, artefact_names, load
from vlp.published.verdicts import Part, Verdict

__all__ = [
    "ARTEFACTS",
    "PAPERS",
    "TITLES",
    "Artefact",
    "CellBeside",
    "Claim",
    "Judgement",
    "Measured",
    "Part",
    "PublishedCell",
    "PublishedTable",
    "Setting",
    "TableBeside",
    "Verdict",
    "artefact_names",
    "claims",
    "judge",
    "load",
    "papers_of",
    "papers_with",
    "stand_beside",
    "tables_beside",
]
