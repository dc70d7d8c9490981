"""The report opened in a browser, from disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.browser import Browser, chromium, executable
from tests.report.samples import HOSTILE, TRAINED, row, write_cell, write_probers
from vlp.report import collect, write_report
from vlp.report.comparing import CONDITION_TITLES

needs_chromium = pytest.mark.skipif(
    executable() is None, reason="no chromium on this machine; `apt-get install chromium` to run this test"
)

PHONE, PAPER = 390, 718
"""Widths in CSS pixels: of a phone, and of A4 within its margins."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_probers(folder / "cells")
    captions = [
        row("model", "accuracy", 0.5, 0.1, label=HOSTILE),
        row("random_weights", "accuracy", 0.4, 0.1, label=""),
    ]
    write_cell(folder / "cells" / "captions", replace(TRAINED, probe="captions"), captions)
    bare = replace(TRAINED, probe="vcc", prober="attention", weights="uniter-1a2b3c4d")
    write_cell(folder / "cells" / "bare", bare, [row("model", "accuracy", 0.75, 0.02)])
    conditions = [*CONDITION_TITLES, "another_condition_of_its_own"]
    wide = [row(name, "bits", 1234.5, 100.0, stage="cross", layer=layer) for name in conditions for layer in (1, 2)]
    write_cell(folder / "cells" / "wide", replace(TRAINED, probe="wide"), wide)
    return write_report(collect([folder / "cells"]), folder / "out")


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Browser]:
    with chromium() as started:
        started.resize(1200)
        started.open(report)
        yield started


@needs_chromium
def test_the_page_says_nothing_to_the_console_and_asks_nobody_for_anything(browser: Browser, report: Path):
    browser.open(report)
    assert browser.complaints() == []
    assert browser.requests() == []
    assert browser.ask("document.querySelectorAll('svg').length") > 3


@needs_chromium
def test_a_caption_with_markup_is_shown_and_not_run(browser: Browser):
    assert HOSTILE in browser.ask("document.body.textContent")
    assert browser.ask("document.querySelectorAll('img, script').length") == 1  # the page's own script


@needs_chromium
def test_a_click_sorts_by_number_and_another_turns_it_round(browser: Browser):
    browser.ask("table = document.querySelector('table.beside'); button = table.querySelectorAll('th button')[1]; 0")
    values = "[...table.tBodies[0].rows].map(row => row.cells[1].querySelector('.own').textContent)"
    unsorted = browser.ask(values)
    assert unsorted == ["88.00", "50.00", "89.00", "91.00", "95.00"]
    browser.ask("button.click()")
    assert browser.ask(values) == sorted(unsorted)
    assert browser.ask("button.parentElement.getAttribute('aria-sort')") == "ascending"
    browser.ask("button.click()")
    assert browser.ask(values) == sorted(unsorted, reverse=True)
    assert browser.ask("table.querySelectorAll('[aria-sort]').length") == 1


@needs_chromium
def test_cells_without_a_number_stay_last_whichever_way_it_is_sorted(browser: Browser):
    browser.ask("table = document.querySelector('table.beside'); button = table.querySelectorAll('th button')[2]; 0")
    last = "[...table.tBodies[0].rows].at(-1).cells[2].querySelector('.own').textContent"
    for _ in range(2):
        browser.ask("button.click()")
        assert browser.ask(last) == "–"


@needs_chromium
def test_an_answer_may_lack_every_control(browser: Browser):
    lacking = "controls missing: chance, majority, random_weights, phrase_only, region_only"
    assert browser.ask("[...document.querySelectorAll('.missing')].map(pill => pill.textContent)").count(lacking) == 1


@needs_chromium
@pytest.mark.parametrize("width", [320, PHONE, 768])
def test_nothing_but_tables_is_wider_than_a_phone(browser: Browser, width: int):
    browser.resize(width)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    browser.resize(1200)


@needs_chromium
def test_on_a_phone_what_a_row_is_about_stays_in_sight(browser: Browser):
    browser.resize(PHONE)
    table = "[...document.querySelectorAll('section .scroll')].find(box => box.scrollWidth > 2 * box.clientWidth)"
    browser.ask(
        f"box = {table}; box.closest('details') && (box.closest('details').open = true); box.scrollLeft = 300; 0"
    )
    assert browser.ask("box.scrollLeft") == 300
    left = "row => Math.round(row.cells[0].getBoundingClientRect().left - box.getBoundingClientRect().left)"
    assert browser.ask(f"[...box.querySelectorAll('tr')].every(row => ({left})(row) === 0)")
    browser.resize(1200)


@needs_chromium
def test_in_the_dark_the_page_is_dark_and_its_drawings_too(browser: Browser):
    lightness = "color => { const [r, g, b] = color.match(/[0-9]+/g).map(Number); return (r + g + b) / 765; }"
    colors = {
        "paper": "getComputedStyle(document.body).backgroundColor",
        "ink": "getComputedStyle(document.body).color",
        "axis": "getComputedStyle(document.querySelector('svg text')).fill",
    }
    found = {}
    for scheme in ("light", "dark"):
        browser.show_as(scheme=scheme)
        found[scheme] = {name: browser.ask(f"({lightness})({color})") for name, color in colors.items()}
    browser.show_as()
    assert found["light"]["paper"] > 0.9 > 0.5 > found["light"]["ink"]
    assert found["dark"]["paper"] < 0.2 < 0.5 < found["dark"]["ink"]
    assert found["dark"]["axis"] > 0.5 > found["light"]["axis"]


@needs_chromium
def test_in_print_the_paper_is_white_and_what_was_folded_is_open(browser: Browser):
    browser.ask("dispatchEvent(new Event('beforeprint'))")
    assert browser.ask("[...document.querySelectorAll('details:not(.long)')].every(folded => folded.open)")
    browser.show_as("print", "dark")
    browser.resize(PAPER)
    assert browser.ask("document.documentElement.scrollWidth") <= PAPER
    assert browser.ask("getComputedStyle(document.querySelector('.answer')).breakInside") == "auto"
    browser.resize(1200)
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.show_as()
