import re
import struct
from pathlib import Path

import pytest

from tests.report.samples import NMI, TRAINED, nmi_rows, pretraining_rows, records, row
from vlp.report.figures import CSS_COLORS, svg, write_figures
from vlp.report.selection import result_figures
from vlp.results import Record

HEADS = [row("model", "mass", 0.1 * layer + 0.05 * head, layer=layer, head=head) for layer in (1, 2) for head in (1, 2)]
TEMPLATES = Path(__file__).parents[2] / "vlp" / "report" / "templates"


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (records(NMI, nmi_rows()), ["nmi-nmi-layers"]),
        (records(TRAINED, pretraining_rows()), ["pretraining-accuracy-values", "pretraining-bits-values"]),
        (records(NMI, HEADS), ["nmi-mass-heads"]),
    ],
)
def test_every_figure_is_a_png_with_something_in_it(tmp_path: Path, found: list[Record], names: list[str]):
    files = write_figures(found, tmp_path / "figures")
    assert files == [tmp_path / "figures" / f"{name}.png" for name in names]
    for file in files:
        data = file.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", data[16:24])
        assert width >= 600
        assert height >= 150
        assert len(data) > 5000


def drawing(label: str = "") -> str:
    rows = [
        row(condition, "nmi", 0.5, 0.1, layer=layer, label=label)
        for condition in ("model", label or "own")
        for layer in (1, 2)
    ]
    (figure,) = result_figures(records(NMI, rows))
    return svg(figure.panels[0], "a")


def test_an_inline_drawing_names_nothing_outside_the_page():
    text = drawing()
    assert text.startswith("<svg viewBox=")
    assert "http" not in text
    assert set(re.findall(r'xlink:href="(.)', text)) <= {"#"}


def test_two_drawings_of_one_page_share_no_name():
    figure = result_figures(records(NMI, nmi_rows()))[0]
    first, second = (set(re.findall(r'id="([^"]+)"', svg(figure.panels[0], name))) for name in ("a", "b"))
    assert first
    assert not first & second


def test_colours_are_the_style_sheet_s_so_that_dark_mode_reaches_them():
    text = drawing()
    assert "var(--series-0)" in text
    assert not [color for color in CSS_COLORS if color in text]
    sheet = (TEMPLATES / "style.css").read_text()
    for variable in CSS_COLORS.values():
        assert sheet.count(f"{variable[4:-1]}: #") == 2, f"{variable} is defined for light and for dark"


def test_markup_and_mathematics_in_a_label_are_shown_as_they_are():
    text = drawing("<script>alert(1)</script> $x^")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $x^" in text
