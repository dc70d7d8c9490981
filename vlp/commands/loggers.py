"""Trackers of a run: what a config names, and a probe's rows in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger

from vlp.configs import instantiate
from vlp.results import COLUMNS, Record


def build_loggers(config: Mapping[str, Any]) -> list[Logger]:
    """Return the tracker of a probe that ``config["logger"]`` names, in a list.

    Empty where it is null or a `CSVLogger`: ``results.csv`` is that file.
    """
    if not config.get("logger"):
        return []
    logger = instantiate(config["logger"], _key_="logger")
    return [] if isinstance(logger, CSVLogger) else [logger]


def log_rows(loggers: Sequence[Logger], records: Sequence[Record]) -> None:
    """Hand a probe's rows to trackers, as scalars and, where there are tables, as a table; then end the run."""
    for logger in loggers:
        logger.log_metrics({scalar_name(record): record.value for record in records}, step=0)
        if hasattr(logger, "log_table"):
            logger.log_table("results", columns=list(COLUMNS), data=[list(astuple(record)) for record in records])
        logger.finalize("success")


def scalar_name(record: Record) -> str:
    """Return a name such as ``nmi/model/joint/layer_3``: metric, condition and place."""
    numbers = {"layer": record.layer, "head": record.head}
    places = [record.stage, record.query, record.key, *(f"{k}_{v}" for k, v in numbers.items() if v is not None)]
    return "/".join(filter(None, [record.metric, record.condition, *places, record.label, record.parameter]))
