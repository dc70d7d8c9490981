"""Cells of probes that train a prober: what they keep, share and refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.conftest import SMALLEST, Command
from vlp.commands import probe
from vlp.results import Record, read_results

SMALL = (*SMALLEST, "dataset.size=12", "probe.with_length=false", "prober.fitting.max_epochs=2", "weights=random")
NO_PROBER = "probe vcd trains a prober and has none; give prober=attention or embedding or visual_features"
KEPT = Path("outputs/activations")


def records() -> list[Record]:
    (table,) = Path("outputs/probe").glob("*/results.csv")
    return read_results(table)


def test_a_cell_trains_on_other_splits_than_it_reports_and_keeps_what_it_read(command: Command):
    done = command("probe", "probe=vcd", *SMALL)
    assert done.status == 0, done.err
    found = records()
    assert {record.prober for record in found} == {"attention"}
    conditions = {record.condition for record in found}
    assert {"model", "random_weights", "chance", "majority", "phrase_only", "region_only"} <= conditions
    first = {path: path.stat().st_mtime_ns for path in KEPT.glob("[!.]*/*.npy")}
    assert len({path.parent for path in first}) == 6  # two models, three splits
    done = command("probe", "probe=vcd", "prober=embedding", *SMALL)
    assert done.status == 0, done.err
    assert {path: path.stat().st_mtime_ns for path in KEPT.glob("[!.]*/*.npy")} == first


def test_without_a_cache_nothing_is_kept_and_the_table_is_the_same(command: Command):
    tables = []
    for cache in ("disk", "off"):
        done = command("probe", "probe=vri", f"cache={cache}", "force=true", *SMALL)
        assert done.status == 0, done.err
        tables.append(max(Path("outputs/probe").glob("*/results.csv")).read_text())
        assert KEPT.exists() == (cache == "disk")
        if cache == "disk":
            KEPT.rename("elsewhere")
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("probe=vcc", "prober=visual_features"),
            "probe vcc has no features of pairs for a prober; it has attention, states",
        ),
        (
            ("probe=vcd", "dataset.split=train"),
            "probe vcd trains on split train, so it cannot report on dataset.split=train; give dataset.split=test or "
            "another that is neither",
        ),
        (
            ("probe=vri", "dataset.split=val"),
            "probe vri stops its fits where split val is answered best, which makes its accuracy there too high, so it "
            "cannot report on dataset.split=val; give dataset.split=test or another that is neither",
        ),
        (("probe=vcd", "probe.resamples=999"), "probe.resamples=999: expected a whole number from 1,000"),
        (("probe=vri", "probe.n_relations=0"), "probe.n_relations=0: expected a whole number from 1"),
        (("probe=nmi", "prober=attention"), "probe nmi trains no prober, but prober=attention was chosen"),
        (("probe=vcd", "~prober"), NO_PROBER),
        (("probe=vcd", "probe.prober=null"), NO_PROBER),
        (
            ("probe=vcd", "prober=null"),
            "prober=null: a group has no option null; there is attention, embedding, visual_features; ~prober on the "
            "command line leaves it out",
        ),
        (
            ("probe=vcd", "probe.needs=[foil]"),
            "probe vcd needs foil, which dataset scenes lacks; it has class_probs, objects, parse, phrases, pixels, "
            "regions, relations",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_model_is_built(
    arguments: tuple[str, ...], message: str, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(probe, "build_from_config", lambda *_: pytest.fail("built first"))
    assert command("probe", *arguments, "weights=random", *SMALLEST).error == f"error: {message}"


def test_another_process_of_the_cell_leaves_the_work_to_the_first(command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "joins_another", lambda: True)
    monkeypatch.setattr(probe, "build_from_config", lambda *_: pytest.fail("built"))
    command("probe", "probe=vcd", *SMALL)
    assert not KEPT.exists()
