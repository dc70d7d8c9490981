import base64
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report.samples import (
    HOSTILE,
    NMI,
    TRAINED,
    nmi_rows,
    pretraining_rows,
    row,
    write_cell,
    write_probers,
    write_training,
)
from vlp.report.html import render
from vlp.report.reading import collect
from vlp.report.writing import write_report

PIXEL = b"\x89PNG\r\n\x1a\n pixel"


class Page(HTMLParser):
    """What a browser would see: text, tags with their attributes, cells of tables."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def values(self, attribute: str) -> list[str]:
        return [found for _, attributes in self.tags if (found := attributes.get(attribute))]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a training and three cells, one of a probe that no code of ours knows, one with a hostile label."""
    root = tmp_path_factory.mktemp("report")
    write_training(root / "train", config={"model": {"name": "uniter"}})
    write_cell(root / "nmi", NMI, nmi_rows())
    write_cell(root / "heads", TRAINED, pretraining_rows())
    own = [
        row("model", "tallies", 0.125, 0.0625, n=40, label=HOSTILE),
        row("unheard_of", "tallies", 0.0625, n=40, label=HOSTILE),
    ]
    counting = write_cell(root / "counting", replace(NMI, probe="counting"), own, command=f"python probe.py {HOSTILE}")
    (counting / "figures").mkdir()
    (counting / "figures" / "a_drawing_of_its_own.png").write_bytes(PIXEL)
    return render(collect([root]))


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_every_section_is_there_and_linked(page: Page):
    anchors = [value.removeprefix("#") for value in page.values("href") if value.startswith("#")]
    assert len(anchors) == 7
    assert set(anchors) <= set(page.values("id"))
    for title in ("Scoreboard", "Training", "Probe: counting", "What is not comparable, and why", "How it was made"):
        assert title in page.text


def test_values_stand_in_tables_rounded_with_interval_and_controls(page: Page):
    assert "0.214 [0.199, 0.229] 0.981 [0.966, 0.996] 0.012 [0.000, 0.024] 512" in page.words()
    assert "itm 92.1 [90.5, 93.8] 50.3 [47.2, 53.3] 50.0 1024" in page.words()


def test_an_unknown_probe_is_shown_with_its_conditions_and_missing_controls(page: Page):
    assert "counting: Tallies" in page.words()
    assert "Unheard of" in page.words()
    assert "0.125 [0.062, 0.188] 0.062" in page.words()
    assert "controls missing: random_weights" in page.words()


def test_markup_in_data_is_shown_and_not_run(source: str, page: Page):
    assert HOSTILE in page.words()
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "<script>alert" not in source
    assert not page.values("onerror")


def test_the_page_needs_nothing_from_outside(source: str, page: Page):
    assert "http:" not in source
    assert "https:" not in source
    assert "@import" not in source
    assert "link" not in [tag for tag, _ in page.tags]
    addresses = [*page.values("src"), *page.values("href"), *page.values("xlink:href")]
    assert {address[:1] if address.startswith("#") else address[:15] for address in addresses} == {
        "#",
        "data:image/png;",
    }


def test_only_the_page_s_own_script_may_run(source: str):
    script = re.search(r"<script>(.*?)</script>", source, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'" in source


def test_every_name_in_the_page_is_given_once(page: Page):
    names = page.values("id")
    assert len(names) == len(set(names))


def test_figures_are_inline_with_a_name_each(page: Page):
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == 5 + 1 + 4 + 1  # training, NMI, pre-training heads, the unknown probe
    assert all(attributes["aria-label"] and attributes["viewbox"] for attributes in drawings)


def test_a_picture_that_a_probe_drew_itself_is_inlined(page: Page):
    assert f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}" in page.values("src")
    assert "a_drawing_of_its_own (cell counting)" in page.words()


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    """The folder of figures of a cell; a picture that is not its own lies outside."""
    own = [row("model", "tallies", 0.125, 0.0625, n=40)]
    figures = write_cell(tmp_path / "runs" / "counting", replace(NMI, probe="counting"), own) / "figures"
    figures.mkdir()
    (tmp_path / "secret.png").write_bytes(PIXEL)
    return figures


def pictures(folder: Path) -> list[str]:
    return [source for source in Page(render(collect([folder]))).values("src") if source.startswith("data:image/png")]


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path.symlink_to("../../../secret.png"), "a link out of its cell"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: os.mkfifo(path), "no regular file"),
        (lambda path: path.symlink_to(path.name), "no regular file"),
        (lambda path: path.symlink_to("nowhere.png"), "no regular file"),
        (lambda path: path.write_bytes(PIXEL + bytes(8 * 2**20)), "a larger one"),
        (lambda path: path.write_bytes(b"no image"), "a file that begins with b'no image'"),
        (lambda path: path.write_bytes(b""), "a file that begins with b''"),
    ],
)
def test_what_is_no_picture_of_a_cell_is_left_out_and_named(
    make: Callable[[Path], object], found: str, drawing: Path, caplog: pytest.LogCaptureFixture
):
    make(drawing / "\x1b[31mstrange.png")
    (drawing / "plain.png").write_bytes(PIXEL)
    assert len(pictures(drawing.parent.parent)) == 1
    name = f"{drawing}/\\x1b[31mstrange.png"
    expected = f"not in the report: {name}: found {found}, expected a PNG file of at most 8 MiB"
    assert caplog.messages == [expected]


def test_pictures_are_inlined_where_cells_and_their_figures_are_links(drawing: Path, tmp_path: Path):
    (drawing / "plain.png").write_bytes(PIXEL)
    (drawing / "again.png").symlink_to("plain.png")
    (tmp_path / "sweep" / "cells").mkdir(parents=True)
    (tmp_path / "sweep" / "cells" / "linked").symlink_to(drawing.parent)
    (tmp_path / "single").mkdir()
    for name in ("results.csv", "figures"):
        (tmp_path / "single" / name).symlink_to(drawing.parent / name)
    assert len(pictures(tmp_path / "sweep")) == len(pictures(tmp_path / "single")) == 2


def test_figures_that_lead_to_a_folder_of_no_cell_are_left_out(
    drawing: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    drawing.rmdir()
    drawing.symlink_to(tmp_path)
    assert pictures(drawing.parent.parent) == []
    assert caplog.messages[0].startswith(f"not in the report: {drawing}/secret.png: found a link out of its cell,")


def test_a_picture_whose_name_is_no_text_is_inlined(drawing: Path, tmp_path: Path):
    (drawing / os.fsdecode(b"\xff.png")).write_bytes(PIXEL)
    assert len(pictures(drawing.parent.parent)) == 1
    assert "\\udcff (cell counting)" in write_report(collect([tmp_path / "runs"]), tmp_path / "out").read_text("utf-8")


def test_how_each_run_was_made_is_told(page: Page):
    words = page.words()
    for fact in (
        "python train.py experiment=scenes",
        "1 min 4 s",
        "900 MiB",
        "python 3.11.7, torch 2.15.0",
        "1a2b3c4d" * 8,
    ):
        assert fact in words


def test_a_report_of_a_training_alone_has_no_scoreboard(tmp_path: Path):
    page = Page(render(collect([write_training(tmp_path / "train")])))
    assert "Training" in page.text
    assert "Scoreboard" not in page.text


@pytest.fixture(scope="module")
def probers(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("probers")
    write_probers(root)
    return Page(render(collect([root])))


def test_a_measured_table_stands_beside_the_printed_one_with_its_claims(probers: Page):
    words = probers.words()
    assert "Published: VALUE (Cao et al., ECCV 2020)" in words
    assert "144 Attention Heads 88.00 [86.50, 89.50] printed 52.04 n 900, 1 seed, 2 prober seeds" in words
    assert "V6 · Heads together recover the type of a link, hardly its existence not testable here" in words
    assert "generated data; on scenes: not testable here. 7 of 14 comparisons measured" in words
    assert "8 more claims, not testable here" in words
    assert words.index("Published: VALUE") < words.index("Accuracy (probe vcd,") < words.index("V6 · Heads")


def test_single_prober_seeds_fold_away(probers: Page):
    assert "The same of every prober seed (40 rows)" in probers.words()


def test_what_random_weights_reach_is_explained_beside_the_answer(probers: Page):
    assert (
        "Random weights already reach 90.0% [88.5, 91.5] in the embedding output: which word it is"
        in probers.words().replace("\u00a0", " ")
    )
