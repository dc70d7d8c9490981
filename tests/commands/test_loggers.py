"""Trackers: what a run is called there, and that they need neither network nor key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import SMALLEST, Command
from vlp.commands.app import Plan
from vlp.commands.loggers import log_rows, scalar_name
from vlp.results import COLUMNS, Record, Row, Subject

SUBJECT = Subject("uniter", "tiny", "random", "scenes", "nmi", "", 0)
RECORD = Record.of(SUBJECT, Row("model", "nmi", 0.5, 8, "joint", "joint", layer=3))


def test_a_scalar_is_named_by_metric_condition_and_place():
    assert scalar_name(RECORD) == "nmi/model/joint/joint/layer_3"


def test_a_run_is_called_by_what_it_is(command: Command, plans: list[Plan]):
    command("probe", "logger=wandb", "logger.offline=true", "weights=random", "seed=2", "model=lxmert")
    node = plans[0].config["logger"]
    assert (node["name"], node["job_type"], node["offline"]) == ("lxmert-nmi-scenes-s2", "probe", True)
    assert node["group"] is None
    command("train", "logger=wandb", "experiment=scenes", "seed=1")
    node = plans[1].config["logger"]
    assert (node["name"], node["job_type"], node["group"]) == ("uniter-train-scenes-s1", "train", "scenes")


def test_the_cells_of_a_sweep_are_one_group(command: Command, plans: list[Plan]):
    command("probe", "-m", "logger=wandb", "weights=random", "model=uniter,lxmert")
    assert {plan.config["logger"]["group"] for plan in plans} == {Path(plans[0].run_dir).name}
    assert len({plan.config["logger"]["id"] for plan in plans}) == 2


def test_a_training_that_goes_on_is_the_same_run(command: Command, plans: list[Plan]):
    for _ in range(2):
        command("train", "logger=wandb", "experiment=scenes")
    first, second = (plan.config["logger"] for plan in plans)
    assert first["id"] == second["id"]
    assert first["resume"] == "allow"


def test_no_key_or_token_stands_in_a_config(command: Command, plans: list[Plan], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "secret-of-the-environment")
    command("probe", "logger=wandb", "weights=random")
    assert "secret" not in json.dumps(plans[0].config)


def test_rows_arrive_as_scalars_and_as_a_table():
    class Tracker:
        def __init__(self) -> None:
            self.got: dict[str, Any] = {}

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            self.got["metrics"] = metrics

        def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
            self.got["table"] = (key, columns, data)

        def finalize(self, status: str) -> None:
            self.got["status"] = status

    tracker = Tracker()
    log_rows([tracker], [RECORD])
    assert tracker.got["metrics"] == {"nmi/model/joint/joint/layer_3": 0.5}
    key, columns, data = tracker.got["table"]
    assert (key, columns, data[0][COLUMNS.index("value")]) == ("results", list(COLUMNS), 0.5)
    assert tracker.got["status"] == "success"


def test_tensorboard_gets_the_rows(command: Command):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = command("probe", "logger=tensorboard", "weights=random", *SMALLEST)
    assert done.status == 0, done.err
    (folder,) = Path("outputs/probe").glob("*/tensorboard")
    assert "nmi/model/joint/joint/layer_1" in EventAccumulator(str(folder)).Reload().Tags()["scalars"]


def test_wandb_works_with_no_network_and_no_key(command: Command, monkeypatch: pytest.MonkeyPatch):
    import wandb

    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    done = command("probe", "logger=wandb", "logger.offline=true", "weights=random", *SMALLEST)
    wandb.finish()
    assert done.status == 0, done.err
    (run,) = Path("outputs/probe").glob("*/wandb/offline-run-*")
    assert list(run.glob("run-*.wandb"))
    (table,) = run.glob("files/media/table/*.json")
    assert json.loads(table.read_text())["columns"] == list(COLUMNS)
