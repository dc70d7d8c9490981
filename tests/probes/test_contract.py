"""Every option of ``conf/probe`` that trains nothing is a probe whose rows can be written, whatever the batches."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from tests.data.worlds import HandMade
from tests.probes.subjects import encoder, pretrained, put, save
from vlp.configs import instantiate, option_names, read_option, resolve
from vlp.data.sample import ANNOTATIONS
from vlp.probes.base import Probe
from vlp.results import FRACTIONS, Subject, read_results, write_results

PROBES = [name for name in option_names("probe") if "prober" not in read_option("probe", name)]
SUBJECT = Subject("uniter", "tiny", "random", "hand_made", "probe", "", 0)


MODELS = {"masks": "swin_vlp"}
"""Of probes that are for models of a kind, one that they can be put to; UNITER for the others."""


def build(name: str, folder: Path, control_seed: int = 1) -> Probe:
    config = resolve({"probe": read_option("probe", name), "paths": {"nlvr": None}})["probe"]
    factory = instantiate(config, _key_="probe")
    model = MODELS.get(name, "uniter")
    module = pretrained(model, *(["mlm"] if model != "uniter" else []))
    takes_weights = "weights" in inspect.signature(factory.func).parameters
    weights = {"weights": save(module, folder / "model.ckpt")} if takes_weights else {}
    return factory(encoder=module.encoder, control=encoder(model, seed=control_seed), seed=0, **weights)


@pytest.mark.parametrize("name", PROBES)
def test_rows_can_be_written_and_name_a_control(name: str, tmp_path: Path):
    probe = put(build(name, tmp_path), HandMade())
    write_results(tmp_path / "results.csv", SUBJECT, probe.rows())
    records = read_results(tmp_path / "results.csv")
    conditions = {record.condition for record in records}
    assert "model" in conditions
    assert conditions & {"random_weights", "chance", "majority", "shuffled", "mismatched"}
    assert all(0 <= record.value <= 1 for record in records if record.metric in FRACTIONS)


@pytest.mark.parametrize("name", PROBES)
def test_needs_are_annotations_and_stand_in_the_config(name: str, tmp_path: Path):
    assert build(name, tmp_path).needs == frozenset(read_option("probe", name)["needs"])
    assert build(name, tmp_path).needs <= ANNOTATIONS


@pytest.mark.parametrize("name", PROBES)
def test_batch_size_changes_no_number(name: str, tmp_path: Path):
    few, many = (put(build(name, tmp_path), HandMade(), batch_size).rows() for batch_size in (2, 6))
    for first, second in zip(few, many, strict=True):
        assert second.value == pytest.approx(first.value, abs=1e-5)
        assert second.n == first.n


@pytest.mark.parametrize("name", PROBES)
def test_the_control_moves_no_row_of_the_model(name: str, tmp_path: Path):
    first, second = (put(build(name, tmp_path, control_seed), HandMade()).rows() for control_seed in (1, 2))
    others = [(a, b) for a, b in zip(first, second, strict=True) if a.condition != "random_weights"]
    assert others
    assert all(a == b for a, b in others)
