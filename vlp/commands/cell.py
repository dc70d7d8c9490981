"""Carrying out a plan, here or in a fresh process: ``python -m vlp.commands.cell PLAN``."""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

from vlp.commands.children import finished_cell, store_of
from vlp.commands.messages import report
from vlp.commands.plans import Plan
from vlp.commands.processes import follow_parent
from vlp.commands.ranks import joins_another, leading, leave_stopped, leave_words
from vlp.commands.records import RunRecord
from vlp.commands.weights import CHECKPOINT, is_trained
from vlp.configs import trust_folder
from vlp.durable import stopping
from vlp.durable.locks import locked
from vlp.durable.stopping import Stopped

log = logging.getLogger(__name__)


def carry_out(plan: Plan) -> Path:
    """Do what ``plan`` says unless it is done, and return the folder of its results."""
    for folder in plan.folders:
        trust_folder(folder)
    _quieten_lightning()
    return train(plan) if plan.entry == "train" else probe(plan)


def train(plan: Plan) -> Path:
    """Train what ``plan`` describes in its directory; a finished training is left as it is.

    Raises:
        ValueError: if the directory holds a checkpoint of another configuration.
    """
    from vlp.commands.resuming import find_start
    from vlp.commands.train import train as run_training

    run_dir = Path(plan.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    if joins_another():
        run_training(plan.config, run_dir)
        return run_dir
    place = run_dir.resolve()  # one lock, by whatever links it is reached
    with locked(place.parent / f".{place.name}.lock", f"another process trains in {run_dir}; waiting for it"):
        goes_on = plan.config.get("resume") == "auto" and not plan.config.get("ckpt_path")
        if goes_on and is_trained(plan):
            log.info("%s is finished; resume=never starts it anew", run_dir)
            return run_dir
        start = find_start(plan.config, run_dir)
        record = RunRecord(plan.command, plan.content, plan.config["seed"])
        record.write(run_dir, finished=False)
        try:
            run_training(plan.config, run_dir, start)
            with stopping.deferring():
                record.write(run_dir, finished=True)
        except Stopped as stopped:
            checkpoint = run_dir / CHECKPOINT  # there is one of this training alone, or none
            saved = stopped.saved or (checkpoint.resolve() if checkpoint.is_file() else None)
            raise Stopped(stopped.reason, saved, stopped.step) from None
    return run_dir


def probe(plan: Plan) -> Path:
    """Measure one cell into the store; a finished one is left as it is unless ``force`` is set."""
    if finished := finished_cell(plan):
        return finished
    from vlp.commands.probe import measure

    if joins_another():
        with tempfile.TemporaryDirectory(prefix="vlp-") as unused:
            measure(plan, Path(unused))
        return store_of(plan).path(plan.cell)
    store = store_of(plan)
    with locked(store.root / f".{plan.cell}.lock", f"another process measures cell {plan.cell}; waiting for it"):
        if plan.force or not store.is_finished(plan.cell):
            with store.writing(plan.cell) as folder:
                measure(plan, folder)
    return store.path(plan.cell)


def _quieten_lightning() -> None:
    """Leave out Lightning's advice on each start, and warnings about itself, Hydra's folder and several processes."""
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Experiment logs directory")
    warnings.filterwarnings("ignore", message="It is recommended to use `self.log")  # our metrics add up all processes
    warnings.filterwarnings("ignore", message=r".isinstance\(treespec, LeafSpec\)", category=FutureWarning)


def main(path: Path) -> int:
    """Carry out the plan in the file ``path``; return the exit status, and leave why it is not 0 beside the plan."""
    stopping.install()
    follow_parent()
    logging.basicConfig(level=logging.INFO, format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s")
    with leading(path.parent):
        try:
            carry_out(Plan.load(path))
            stopping.release()
        except Stopped as stopped:
            return leave_stopped(stopped)
        except Exception as error:  # noqa: BLE001 - handed to the process that waits for this one
            leave_words(report(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
