"""Reports: what runs found, beside their controls, as one HTML file, one table and a text for the terminal."""

from vlp.report.figures import write_figures
from vlp.report.reading import Findings, collect
from vlp.report.scoreboard import Answer, scoreboard
from vlp.report.text import print_published, print_scoreboard
from vlp.report.writing import write_report

__all__ = [
    "Answer",
    "Findings",
    "collect",
    "print_published",
    "print_scoreboard",
    "scoreboard",
    "write_figures",
    "write_report",
]
