"""Trackers of a run: what a config names, a probe's rows and figures in them, and how the run ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from vlp.configs import instantiate
from vlp.durable.stopping import Stopped
from vlp.results import COLUMNS, FRACTIONS, Record

UNTRACKED = frozenset({"hydra", "local_paths", "logger", "paths"})
"""Top-level keys of a config that are of this machine, or of the tracker itself."""

MEASUREMENT = "model"
"""The condition whose fractions have a mean over layers and heads as well."""


@contextmanager
def tracking(config: Mapping[str, Any]) -> Iterator[list[Logger]]:
    """Yield the trackers of `build_loggers`; their run ends with the block, as failed where that raises.

    ``raise SystemExit(3)`` counts as raising, which W&B by itself takes for success.
    """
    loggers = build_loggers(config)
    try:
        yield loggers
    except BaseException as error:
        _end(loggers, exit_status(error))
        raise
    _end(loggers, 0)


def build_loggers(config: Mapping[str, Any]) -> list[Logger]:
    """Return the tracker that ``config["logger"]`` names, in a list, its run begun and told the config.

    Empty where it is null or a `CSVLogger`: ``results.csv``, or a training's ``metrics.csv``, is that file.
    """
    node = config.get("logger") or {}
    if node.get("_target_", "").rpartition(".")[2] in ("", CSVLogger.__name__):
        return []
    logger: Logger = instantiate(node, _key_="logger")
    logger.log_hyperparams({key: value for key, value in config.items() if key not in UNTRACKED})
    return [logger]


def log_rows(loggers: Sequence[Logger], records: Sequence[Record], figures: Sequence[Path] = ()) -> None:
    """Hand a probe's rows to trackers as scalars and, where these have such things, as a table, and its figures."""
    for logger in loggers:
        logger.log_metrics(scalars(records), step=0)
        if hasattr(logger, "log_table"):
            logger.log_table("results", columns=list(COLUMNS), data=[list(astuple(record)) for record in records])
        if hasattr(logger, "log_image"):
            for figure in figures:
                logger.log_image(f"figures/{figure.stem}", [str(figure)], step=0)
        logger.save()


def scalars(records: Sequence[Record]) -> dict[str, float]:
    """Return the rows by `scalar_name`; of a trained probe the means over prober seeds, the rest is in the table.

    Where the measurement has a fraction for each of several layers or heads, their mean stands under the name without
    a place (``accuracy/model``), so that runs with and without layers compare. Not their best, which is a
    max-statistic.
    """
    kept = [record for record in records if record.prober_seed is None]
    named = {scalar_name(record): record.value for record in kept}
    placed: dict[str, list[float]] = {}
    for record in kept:
        if record.condition == MEASUREMENT and record.metric in FRACTIONS:
            nowhere = replace(record, stage="", query="", key="", layer=None, head=None)
            placed.setdefault(scalar_name(nowhere), []).append(record.value)
    return {name: fmean(values) for name, values in placed.items()} | named


def scalar_name(record: Record) -> str:
    """Return a name such as ``nmi/model/joint/layer_3``: metric, condition and place."""
    numbers = {"layer": record.layer, "head": record.head}
    places = [record.stage, record.query, record.key, *(f"{k}_{v}" for k, v in numbers.items() if v is not None)]
    return "/".join(filter(None, [record.metric, record.condition, *places, record.label, record.parameter]))


def exit_status(error: BaseException) -> int:
    """Return the exit status of a process that ``error`` ends; 0 only for a training whose time was over."""
    if isinstance(error, Stopped):
        return error.status
    code = error.code if isinstance(error, SystemExit) else 1
    return code if isinstance(code, int) and code else 1


def _end(loggers: Sequence[Logger], status: int) -> None:
    for logger in loggers:
        logger.finalize("failed" if status else "success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=status)
