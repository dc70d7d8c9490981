"""Trackers: what a run is called there, what arrives, and that they need neither network nor key."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands.conftest import SMALLEST, Command
from vlp.commands.app import Plan
from vlp.commands.loggers import exit_status, log_rows, scalar_name, scalars, tracking
from vlp.configs import option_names
from vlp.durable.stopping import MAX_TIME, Stopped
from vlp.results import COLUMNS, Record, Row, Subject, read_results

ROOT = Path(__file__).parents[2]
SUBJECT = Subject("uniter", "tiny", "random", "scenes", "nmi", "", 0)
RECORD = Record.of(SUBJECT, Row("model", "nmi", 0.5, 8, "joint", "joint", layer=3))
BLOCK, HEADER, PART = 32768, 7, struct.Struct("<IHB")
"""Of a ``.wandb`` file, which is a LevelDB log: bytes a block and before the first part; checksum, length and kind."""


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


def test_a_run_is_tagged_with_its_papers_beside_the_users_own_words(command: Command, plans: list[Plan]):
    command("probe", "logger=wandb", "weights=random", "probe=vcc", "run.tags=[mine,value]")
    command("probe", "logger=wandb", "weights=random")
    command("train", "logger=wandb", "experiment=scenes")
    assert [plan.config["logger"]["tags"] for plan in plans] == [["mine", "value"], ["visual_parsing"], []]


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

        def save(self) -> None:
            self.got["saved"] = True

    tracker = Tracker()
    log_rows([tracker], [RECORD])
    assert tracker.got["metrics"] == {"nmi/model": 0.5, "nmi/model/joint/joint/layer_3": 0.5}
    key, columns, data = tracker.got["table"]
    assert (key, columns, data[0][COLUMNS.index("value")]) == ("results", list(COLUMNS), 0.5)
    assert tracker.got["saved"]


def test_tensorboard_gets_the_rows(command: Command):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = command("probe", "logger=tensorboard", "weights=random", *SMALLEST)
    assert done.status == 0, done.err
    (folder,) = Path("outputs/probe").glob("*/tensorboard")
    assert "nmi/model/joint/joint/layer_1" in EventAccumulator(str(folder)).Reload().Tags()["scalars"]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONSOLE", "off")


def test_each_cell_is_a_whole_run_in_wandb_with_no_network_and_no_key(
    command: Command, offline: None, in_process: None
):
    cells = ("probe=nmi", "model=uniter,bert", "run.tags=[value]", "seed=4")
    tracker = ("logger=wandb", "logger.offline=true")
    done = command("probe", "-m", *cells, *tracker, "weights=random", *SMALLEST, "hydra.sweep.dir=asked")
    assert done.status == 1  # bert has no vision to compare with text
    finished, failed = Tracked(Path("asked/jobs/0")), Tracked(Path("asked/jobs/1"))

    assert finished.run.run_id == Path("asked/jobs/0/.run_id").read_text() != failed.run.run_id
    assert (finished.run.display_name, finished.run.job_type) == ("uniter-nmi-scenes-s4", "probe")
    assert (finished.run.run_group, list(finished.run.tags)) == ("asked", ["value", "visual_parsing"])
    assert {name: finished.config[name]["name"] for name in ("model", "size", "dataset")} == {
        "model": "uniter",
        "size": "tiny",
        "dataset": "scenes",
    }
    assert finished.config["run"]["probe"] == "nmi"
    assert finished.config["trainer"]["accelerator"] == "cpu"
    assert "logger" not in finished.config

    (table,) = Path("asked/cells").glob("*/results.csv")
    rows = read_results(table)
    assert {name: finished.summary[name] for name in scalars(rows)} == pytest.approx(scalars(rows))
    shown = json.loads(finished.file("results").read_text())
    assert shown["columns"] == list(COLUMNS)
    assert [line[COLUMNS.index("value")] for line in shown["data"]] == pytest.approx([row.value for row in rows])
    drawings = sorted(table.parent.glob("figures/*.png"))
    assert len(drawings) > 0
    for drawing in drawings:
        (picture,) = finished.summary[f"figures/{drawing.stem}"]["filenames"]
        assert (finished.files / picture).read_bytes() == drawing.read_bytes()

    assert (finished.exit_code, failed.exit_code) == (0, 1)
    assert (failed.run.display_name, failed.run.run_group) == ("bert-nmi-scenes-s4", "asked")
    assert failed.config["model"]["name"] == "bert"


def test_a_cell_that_exits_ends_with_its_status(in_temporary_folder: Path, offline: None):
    node = {"_target_": "pytorch_lightning.loggers.WandbLogger", "project": "vlp-probe", "offline": True}
    with suppress(SystemExit), tracking({"seed": 0, "logger": {**node, "save_dir": "."}}) as loggers:
        log_rows(loggers, [RECORD])
        raise SystemExit(3)
    found = Tracked(in_temporary_folder)
    assert found.exit_code == 3
    assert found.summary["nmi/model"] == RECORD.value


def test_an_error_ends_a_run_with_the_status_of_its_process():
    errors = [ValueError(), SystemExit(3), SystemExit("why"), SystemExit(), Stopped("SIGTERM"), Stopped(MAX_TIME)]
    assert [exit_status(error) for error in errors] == [1, 3, 1, 1, 143, 0]


def test_layers_have_a_mean_beside_them_and_prober_seeds_only_their_mean():
    rows = [Row("model", "accuracy", value, 8, "joint", layer=layer) for layer, value in ((0, 0.25), (1, 0.75))]
    rows += [Row("model", "accuracy", 1.0, 8, "joint", layer=0, prober_seed=1), Row("chance", "accuracy", 0.125, 8)]
    rows += [Row("model", "description_length", 90.0, 8, "joint", layer=0)]
    assert scalars([Record.of(SUBJECT, row) for row in rows]) == {
        "accuracy/model": 0.5,
        "accuracy/model/joint/layer_0": 0.25,
        "accuracy/model/joint/layer_1": 0.75,
        "accuracy/chance": 0.125,
        "description_length/model/joint/layer_0": 90.0,
    }


@pytest.mark.parametrize("file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_wandb_sweep_asks_for_cells_that_exist(file: Path, command: Command, plans: list[Plan]):
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = yaml.safe_load(file.read_text())
    grid = {name: parameter["values"] for name, parameter in sweep["parameters"].items()}
    assert [name for name, values in grid.items() if not set(values) <= set(option_names(name))] == []
    assert (ROOT / sweep["program"]).is_file()
    assert "visual_features" not in grid["prober"]  # its rows are of no model, so the metric would not be there
    metric = sweep["metric"]["name"].split("/")[0]
    layered = Record.of(SUBJECT, Row("model", metric, 0.5, 8, "vision", layer=1))
    assert sweep["metric"]["name"] in scalars([layered])

    chosen = {name: values[-1] for name, values in grid.items()}
    words = create_sweep_command_args({"args": {name: {"value": value} for name, value in chosen.items()}})
    first = sweep["command"].index("${program}") + 1
    arguments = [part for word in sweep["command"][first:] for part in words.get(word.strip("${}"), [word])]
    command(Path(sweep["program"]).stem, *arguments)
    (plan,) = plans
    assert plan.force
    assert plan.config["model"]["name"] == chosen["model"]
    assert plan.config["run"]["prober"] == chosen["prober"]
    assert plan.config["logger"]["_target_"].endswith("WandbLogger")


class Tracked:
    """What the one offline run in a folder has in its ``.wandb`` file."""

    def __init__(self, folder: Path) -> None:
        import wandb

        wandb.teardown()  # the process that writes the file: until it has ended, the last lines may not be there
        (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
        self.files = file.parent / "files"
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        for record in records_of(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run = record.run
                self._update(self.config, record.run.config.update)
            elif kind == "config":
                self._update(self.config, record.config.update)
            elif kind == "summary":
                self._update(self.summary, record.summary.update)
            elif kind == "exit":
                self.exit_code = record.exit.exit_code

    def file(self, key: str) -> Path:
        """Return the file that the summary names under ``key``."""
        return self.files / str(self.summary[key]["path"])

    def _update(self, tree: dict[str, Any], items: Any) -> None:
        for item in items:
            *parents, name = item.nested_key or [item.key]
            place = tree
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = json.loads(item.value_json)


def records_of(file: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record as WandbRecord

    data, position, whole = file.read_bytes(), HEADER, b""
    while position + PART.size <= len(data):
        room = BLOCK - position % BLOCK
        if room < PART.size:  # a block ends with fewer bytes than a part begins with
            position += room
            continue
        _, length, kind = PART.unpack_from(data, position)
        position += PART.size + length
        whole += data[position - length : position]
        if kind in (1, 4):  # whole, or the last part of several
            yield WandbRecord.FromString(whole)
            whole = b""
