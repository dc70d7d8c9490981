"""Drawing panels with matplotlib: PNG files beside a cell, inline SVG that follows the page's colours in a report.

matplotlib is imported when something is drawn, not before. Text is never read as mathematics, so that a label with a
dollar sign is shown as it is.
"""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlp.report.panels import LABEL_WIDTH, DotPanel, Figure, HeatPanel, Line, LinePanel, Panel
from vlp.report.selection import result_figures
from vlp.results import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = (
    *("#1f5fa8", "#b4530f", "#5f6b78", "#3d7a3a", "#8a4a97"),
    *("#957000", "#0d7d84", "#b0336a", "#6b4a2b"),
)
INK, SOFT, RULE = "#1a1d21", "#5a626c", "#dcdfe3"

CSS_COLORS = {
    **{color: f"var(--series-{index})" for index, color in enumerate(PALETTE)},
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    RULE: "var(--line)",
}
"""Colours of a drawing and the property of the page's style sheet that each becomes, so that dark mode reaches it."""

WIDTH, HEIGHT = 4.0, 2.9
"""Size of a panel in inches."""

COLUMNS = 3
"""Panels side by side in a PNG file."""

MANY_LINES, LEGEND_ROW = 5, 0.17
"""Names above which a legend stands below the drawing, two in a row, and the height of such a row in inches."""

TITLE_WIDTH = 48
"""Letters of a panel's title in a line."""

_STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
}


def write_figures(records: Iterable[Record], folder: Path | str) -> list[Path]:
    """Draw what ``records`` show into ``folder``, one PNG file a figure, and return the files.

    Raises:
        OSError: if ``folder`` cannot be written.
    """
    return [write_figure(figure, folder) for figure in result_figures(records)]


def write_figure(figure: Figure, folder: Path | str) -> Path:
    """Draw ``figure`` as ``folder/<its name>.png``, panels side by side, and return the file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    path = Path(folder) / f"{figure.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = min(COLUMNS, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    with rc_context(_STYLE):
        height = max(height_of(panel) for panel in figure.panels)
        canvas = Canvas(figsize=(WIDTH * columns, height * rows), layout="constrained", facecolor="white")
        grid = canvas.subplots(rows, columns, squeeze=False).flat
        for panel, axes in zip(figure.panels, grid, strict=False):
            axes.set_title(textwrap.fill(panel.title, TITLE_WIDTH))
            draw(panel, axes)
        for axes in list(grid)[len(figure.panels) :]:
            axes.remove()
        canvas.savefig(path, format="png", dpi=150)
    return path


def svg(panel: Panel, name: str) -> str:
    """Return ``panel`` as an SVG element for a page; ``name`` must differ between the panels of one page."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    buffer = io.StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=(WIDTH, height_of(panel)), layout="constrained")
        draw(panel, canvas.subplots())
        canvas.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(_SVG_METADATA))
    return _inline(buffer.getvalue(), panel.title)


_SVG_METADATA = ("Creator", "Date", "Format", "Type")


def _inline(document: str, title: str) -> str:
    """Keep the drawing of an SVG document: no prologue, no fixed size, no name that another drawing has too."""
    body = document[document.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, count=1, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]*)"', body)
    opening = f'<svg viewBox="{view.group(1) if view else ""}" role="img" aria-label="{html.escape(title)}">'
    body = re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    for color, variable in CSS_COLORS.items():
        body = body.replace(f": {color}", f": {variable}")
    return body.strip()


def height_of(panel: Panel) -> float:
    """Return the height of ``panel`` in inches: dots take a row each, a long legend one for two names."""
    if isinstance(panel, DotPanel):
        return 0.85 + 0.26 * len(panel.dots)
    names = len({line.name for line in panel.lines}) if isinstance(panel, LinePanel) else 0
    return HEIGHT if names < MANY_LINES else HEIGHT + LEGEND_ROW * (1 + names // 2)


def draw(panel: Panel, axes: Axes) -> None:
    """Draw ``panel`` on ``axes``, without its title."""
    if isinstance(panel, LinePanel):
        _draw_lines(panel, axes)
    elif isinstance(panel, HeatPanel):
        _draw_heat_map(panel, axes)
    else:
        _draw_dots(panel, axes)


def _draw_lines(panel: LinePanel, axes: Axes) -> None:
    named: set[str] = set()
    for line in panel.lines:
        _draw_line(line, axes, has_marker=panel.is_by_layer, is_new=line.name not in named)
        named.add(line.name)
    axes.set_xlabel(panel.x_title)
    axes.set_ylabel(panel.y_title)
    axes.set_ylim(*_limits([end for line in panel.lines for end in _ends(line)], panel.lower, panel.upper))
    if panel.lower is not None and panel.lower == panel.upper:  # a difference
        axes.axhline(panel.lower, color=SOFT, linewidth=0.9)
    if panel.is_by_layer:
        axes.set_xticks(sorted({point[0] for line in panel.lines for point in line.points}))
    if len(named) >= MANY_LINES:
        axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(-0.12, -0.2), borderaxespad=0.0)
    elif len(named) > 1 or not panel.is_by_layer:
        axes.legend()


def _draw_line(line: Line, axes: Axes, has_marker: bool, is_new: bool) -> None:
    xs, ys, lows, highs = zip(*line.points, strict=True)
    color = _color(line)
    style: dict[str, Any] = {"color": color, "linestyle": line.dashes}
    marker = "o" if has_marker or len(xs) == 1 else None
    axes.plot(xs, ys, marker=marker, label=line.name if is_new else "_", **style)
    if None not in lows and None not in highs:
        axes.fill_between(xs, lows, highs, color=color, alpha=0.18, linewidth=0)


def _draw_heat_map(panel: HeatPanel, axes: Axes) -> None:
    present = [value for row in panel.values for value in row if value == value]
    lower = panel.lower if panel.lower is not None else min(present)
    image = axes.pcolormesh(panel.values, cmap="viridis", vmin=min(lower, *present, lower), vmax=max(present))
    axes.set_xticks([index + 0.5 for index in range(len(panel.heads))], [str(head) for head in panel.heads])
    axes.set_yticks([index + 0.5 for index in range(len(panel.layers))], [str(layer) for layer in panel.layers])
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.grid(False)
    bar = axes.figure.colorbar(image, ax=axes, label=panel.value_title)
    bar.outline.set_visible(False)


def _draw_dots(panel: DotPanel, axes: Axes) -> None:
    for row, dot in enumerate(panel.dots):
        _, value, low, high = dot.points[0]
        color = _color(dot)
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], color=color, linewidth=2.4, alpha=0.45, solid_capstyle="butt")
        axes.plot([value], [row], marker="o", markersize=5, color=color, linestyle="none")
    names = [textwrap.shorten(dot.name, LABEL_WIDTH, placeholder="…") for dot in panel.dots]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(panel.dots) - 0.4, -0.6)
    axes.set_xlim(*_limits([end for dot in panel.dots for end in _ends(dot)], panel.lower, panel.upper))
    axes.set_xlabel(panel.x_title)
    axes.grid(False, axis="y")


def _color(line: Line) -> Any:
    if line.share is not None:
        return _blend(line.share)
    if line.color is None:
        return SOFT
    return PALETTE[1 + (line.color - 1) % (len(PALETTE) - 1)] if line.color else PALETTE[0]


def _blend(share: float) -> str:
    """Return a colour between orange (first) and blue (last), legible on white and on black."""
    first, last = (214, 126, 44), (58, 123, 213)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(first, last, strict=True))


def _ends(line: Line) -> list[float]:
    return [end for _, *ends in line.points for end in ends if end is not None]


def _limits(values: Sequence[float], lower: float | None, upper: float | None) -> tuple[float, float]:
    """Return what the metric declares, widened to what was measured, with a little air."""
    low = min([*values, *([] if lower is None else [lower])])
    high = max([*values, *([] if upper is None else [upper])])
    air = 0.03 * (high - low) or 0.5
    return low - air, high + air
