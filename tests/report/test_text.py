"""What a terminal shows."""

import io

import pytest
from rich.console import Console

from vlp.report.text import print_published
from vlp.results import Record, Row, Subject


def nmi_by_layer() -> list[Record]:
    whose = Subject("uniter", "base", "released-0011aabb", "visual_genome", "nmi", "", 0)
    rows = [
        Row("model", "nmi", layer / 20, 9, layer=layer, parameter="specials=text", ci_low=0.01, ci_high=0.99)
        for layer in range(1, 13)
    ]
    return [Record.of(whose, row) for row in rows]


@pytest.mark.parametrize(("width", "heads"), [(80, ["Ours", "SOHO", "UNITER", "ViLT"]), (400, ["layer", "1", "layer"])])
def test_a_table_that_is_too_wide_has_a_line_for_each_of_its_columns(width: int, heads: list[str]):
    console = Console(file=io.StringIO(), width=width)
    print_published(nmi_by_layer(), console)
    shown = console.file.getvalue()
    assert "Figure 5: printed" in " ".join(shown.split())
    assert "…" not in shown
    lines = [line.split() for line in shown.splitlines()]
    assert [line for line in lines if line[: len(heads)] == heads]
    assert all(f"{layer / 20:.2f}" in shown for layer in range(3, 13))
