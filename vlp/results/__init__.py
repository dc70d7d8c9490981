"""The result row, the tidy table it stands in, and the store of finished cells."""

from vlp.results.cells import (
    FIGURES_FOLDER,
    RESULTS_FILE,
    RUN_FILE,
    CellStore,
    forget_cells,
    gather,
    link_cell,
    show_cell,
)
from vlp.results.rows import COLUMNS, FRACTIONS, Record, Row, Subject, name_with_row, short_name
from vlp.results.table import concatenate, read_results, write_records, write_results

__all__ = [
    "COLUMNS",
    "FIGURES_FOLDER",
    "FRACTIONS",
    "RESULTS_FILE",
    "RUN_FILE",
    "CellStore",
    "Record",
    "Row",
    "Subject",
    "concatenate",
    "forget_cells",
    "gather",
    "link_cell",
    "name_with_row",
    "read_results",
    "short_name",
    "show_cell",
    "write_records",
    "write_results",
]
