"""The entry points: Hydra composes, a plan is made of it, and the plan is carried out.

Hydra only composes and plans here; what runs, runs after it has finished (one run) or in a fresh process (each cell of
a sweep), so that a traceback, a launcher's process or a killed cell reach nothing else. No torch is imported before.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vlp.commands.cell import carry_out
from vlp.commands.children import CellError, carry_out_in_child, finished_cell
from vlp.commands.hydra_part import checking_hydra
from vlp.commands.identity import SHORT, content_hash
from vlp.commands.messages import FULL_ERROR, report
from vlp.commands.plans import Plan, check_entry, check_prober, for_model, plain, plan_probe, plan_training
from vlp.commands.processes import OUTPUT, RUNNING, devices_for, follow_parent, running
from vlp.commands.progress import Note, State, noting_cell
from vlp.commands.ranks import joins_another, leading
from vlp.commands.records import command_line
from vlp.commands.stopped import end_stopped
from vlp.commands.weights import find_weights
from vlp.configs import read_option, trust_folder
from vlp.durable import stopping
from vlp.durable.files import write_text
from vlp.durable.locks import locked
from vlp.durable.stopping import Stopped
from vlp.published import papers_with
from vlp.results import RESULTS_FILE, forget_cells, gather, link_cell, show_cell

log = logging.getLogger(__name__)


def train_main() -> None:
    """Pre-train: ``train.py`` and the console script ``vlp-train``."""
    run("train")


def probe_main() -> None:
    """Probe: ``probe.py`` and the console script ``vlp-probe``."""
    run("probe")


def run(entry: str) -> None:
    """Run a command on the arguments of this process; exit with 1 and one line of error if it fails.

    Stopped by a signal, it exits with 128 plus the signal's number, and its last line is the command that goes on.
    """
    stopping.install()
    follow_parent()
    overrides: Sequence[str] = ()
    task = Task(entry, command_line(), os.environ.get(FULL_ERROR))
    try:
        arguments, _ = get_args_parser().parse_known_intermixed_args()
        overrides = list(arguments.overrides)
        sys.argv[1:] = [*(text for text in sys.argv[1:] if text not in overrides), *overrides]  # flags first, for Hydra
        check_experiments(entry, overrides, arguments.config_dir)
        with _raising_errors(), checking_hydra():
            hydra.main(config_path="pkg://vlp.conf", config_name=entry, version_base="1.3")(task)()
        task.finish()
        stopping.release()
    except Stopped as stopped:
        sys.exit(end_stopped(stopped))
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets one line of it
        report(error, overrides, entry)
        sys.exit(1)


class Task:
    """What Hydra calls with a composed config: it plans, and in a sweep has the plan carried out in a fresh process.

    Args:
        entry: train or probe.
        command: the command line, for the record.
        full_error: the user's own ``HYDRA_FULL_ERROR``, which Hydra is not shown.
    """

    def __init__(self, entry: str, command: str, full_error: str | None) -> None:
        self.entry, self.command, self.full_error = entry, command, full_error
        self.plan: Plan | None = None
        self.error: Exception | None = None

    def __call__(self, config: DictConfig) -> str:
        """Plan the run, or carry out a sweep's cell; return the folder of its results."""
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            job = HydraConfig.get().job
            log = Path(HydraConfig.get().runtime.output_dir) / f"{job.name}.log"  # Hydra's own file
            with noting_cell(running(), job.num, log) as note:
                return str(self._run_cell(make_plan(self.entry, config, self.command), note))
        try:
            self.plan = make_plan(self.entry, config, self.command)
        except Exception as error:  # noqa: BLE001 - raised again by `finish`; Hydra prints lines of its own
            self.error = error
        return ""

    def finish(self) -> None:
        """Carry out the plan of a single run; do nothing where there is none (a sweep, ``--help``)."""
        if self.error is not None:
            raise self.error
        if self.plan is None:
            return
        with tempfile.TemporaryDirectory(prefix="vlp-") as last_words, leading(Path(last_words)):
            folder, run_dir = carry_out(self.plan), Path(self.plan.run_dir)
        if self.entry == "probe" and not joins_another():
            forget_cells(run_dir)
            link_cell(folder, run_dir)
            show_cell(folder, run_dir)
            sys.stdout.write(f"results: {gather(run_dir)}\n")

    def _run_cell(self, plan: Plan, note: Note) -> Path:
        if not stopping.is_installed():  # a process of a launcher: the sweep's own one hands signals on
            stopping.ignore_signals()
        sweep = running()
        if sweep is not None and sweep.stopped is not None:
            raise CellError("not begun")
        environment = {key: value for key, value in os.environ.items() if key not in (FULL_ERROR, RUNNING)}
        if self.full_error is not None:
            environment[FULL_ERROR] = self.full_error
        if plan.config["trainer"].get("devices") == 1:  # a cell that asks for several gets what there is
            environment |= devices_for(note.number, environment)
        if plan.entry == "train":
            return carry_out_in_child(plan, environment | {OUTPUT: note.cell.log})
        finished = finished_cell(plan)
        note.outcome = State.WAS_DONE if finished else State.DONE
        folder = finished or carry_out_in_child(plan, environment | {OUTPUT: note.cell.log})
        add_cell(folder, Path(plan.run_dir))
        return folder


def add_cell(cell: Path, sweep_dir: Path) -> None:
    """Link a finished cell into its sweep's folder and add it to the table there, which a kill then leaves whole.

    A table that cannot be written now is not the cell's fault, and is written anew at the end of the sweep.
    """
    link_cell(cell, sweep_dir)
    with locked(sweep_dir / f".{RESULTS_FILE}.lock", f"another process writes {sweep_dir / RESULTS_FILE}; waiting"):
        try:
            gather(sweep_dir)
        except (OSError, ValueError) as error:
            log.warning("%s lacks a cell for now: %s", sweep_dir / RESULTS_FILE, error)


def make_plan(entry: str, config: DictConfig, command: str) -> Plan:
    """Return the plan for a composed config, inside a Hydra job."""
    hydra_config = HydraConfig.get()
    for source in hydra_config.runtime.config_sources:
        if source.provider == "command-line" and source.schema == "file":
            trust_folder(source.path)
    folder = Path(hydra_config.runtime.output_dir)
    choices = {key: hydra_config.runtime.choices.get(key) for key in ("probe", "prober")} if entry == "probe" else {}
    if entry == "probe":
        check_prober(config, **choices)
    tracked = {"id": run_id(folder), "group": run_group(hydra_config), "tags": run_tags(config)}
    tree = plain(config, {"dir": str(folder), **tracked, **choices}, hydra_config.runtime.choices.get("objective"))
    check_entry(tree, entry)
    tree["tokenizer"] = for_model(tree.get("tokenizer"), tree["model"]["name"], "tokenizer")
    overrides = list(hydra_config.overrides.task)
    if entry == "train":
        return plan_training(tree, folder, command, overrides)
    is_sweep = hydra_config.mode == RunMode.MULTIRUN
    return plan_probe(
        tree, find_weights(tree, command), hydra_config.sweep.dir if is_sweep else folder, command, overrides
    )


def run_id(run_dir: Path) -> str:
    """Return the id under which a tracker knows the run in ``run_dir``: made once, kept beside what it is of."""
    path = run_dir / ".run_id"
    if not path.is_file():
        write_text(path, uuid.uuid4().hex[:SHORT])
    return path.read_text("utf-8").strip()


def run_group(hydra_config: Any) -> str | None:
    """Return what a tracker groups the run by: its experiment, or its sweep."""
    experiment = hydra_config.runtime.choices.get("experiment")
    if experiment:
        return str(experiment)
    return Path(hydra_config.sweep.dir).name if hydra_config.mode == RunMode.MULTIRUN else None


def run_tags(config: DictConfig) -> list[str]:
    """Return what a tracker finds the run by: the user's own words, and the papers of its experiment and probe."""
    choices = HydraConfig.get().runtime.choices
    papers = papers_with(choices.get("experiment"), choices.get("probe"))
    return list(dict.fromkeys([*config.run.tags, *papers]))


def check_experiments(entry: str, overrides: Sequence[str], config_dir: str | None) -> None:
    """Refuse an experiment that is for the other command, by its name and before anything is composed.

    Raises:
        ValueError: naming the experiment and the command it is for.
    """
    if config_dir is not None and Path(config_dir).is_dir():
        trust_folder(config_dir)
    chosen = [override.partition("=")[2] for override in overrides if override.lstrip("+").startswith("experiment=")]
    for name in ",".join(chosen).split(","):
        if name.replace("/", "").replace("_", "").isalnum() and name != "null":
            other = read_option("experiment", name).get("entry", entry)
            if other != entry:
                raise ValueError(f"experiment={name} is for {other}.py; it was given to {entry}.py")


@contextmanager
def _raising_errors() -> Iterator[None]:
    """Have Hydra raise its errors instead of printing them and ending the process."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before


OmegaConf.register_new_resolver(
    "content_hash",
    # Only what a training is enters its folder's name; Hydra's own part cannot be resolved at this point.
    lambda *, _root_: content_hash(
        plain(
            OmegaConf.masked_copy(_root_, [key for key in _root_ if key != "hydra"]),
            objective=_root_.hydra.runtime.choices.get("objective"),
        ),
    )[:SHORT],
    replace=True,
)
