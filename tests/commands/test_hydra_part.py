"""Hydra instantiates a part of every config itself, which is checked before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

from tests.commands.conftest import Command
from vlp.commands.hydra_part import check_hydra

CALLBACK = {"_target_": "hydra.experimental.callbacks.LogJobReturnCallback"}


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        (
            {"job_logging": {"handlers": {"x": {"()": "os.system"}}}},
            "os.system is not allowed at hydra.job_logging.handlers.x",
        ),
        (
            {"job_logging": {"handlers": {"x": {"class": "subprocess.Popen"}}}},
            "subprocess.Popen is not allowed at hydra.job_logging.handlers.x",
        ),
        (
            {"job_logging": {"handlers": {"x": {"class": "logging.os.system"}}}},
            "logging.os.system is not allowed at hydra.job_logging.handlers.x",
        ),
        ({"callbacks": {"x": {"_target_": "os.system"}}}, "os.system is not allowed at hydra.callbacks.x"),
        (
            {"callbacks": {"x": {"_target_": "hydra.core.utils.Path.touch"}}},
            "hydra.core.utils.Path.touch is not allowed at hydra.callbacks.x",
        ),
        (
            {"callbacks": {"x": {"_target_": "hydra.experimental.callbacks.Path"}}},
            "hydra.experimental.callbacks.Path is not allowed at hydra.callbacks.x",
        ),
        (
            {"callbacks": {"x": {**CALLBACK, "more": [[{"_target_": "torch.hub.list"}]]}}},
            "torch.hub.list is not allowed at hydra.callbacks.x.more[0][0]",
        ),
    ],
)
def test_what_hydra_would_call_is_refused_at_any_depth(tree: dict[str, Any], error: str):
    with pytest.raises(ValueError) as refused:
        check_hydra(OmegaConf.create(tree))
    assert str(refused.value) == error


def test_a_node_that_hydras_part_refers_to_is_checked():
    config = OmegaConf.create(
        {"mine": {"_target_": "torch.hub.list"}, "hydra": {"callbacks": {"x": "${mine}", "y": "${hydra}"}}}
    )
    with pytest.raises(ValueError, match=r"^torch\.hub\.list is not allowed at hydra\.callbacks\.x$"):
        check_hydra(config.hydra)


def test_a_call_is_refused_before_it_is_made(command: Command, in_temporary_folder: Path):
    answer = command("probe", "+hydra.callbacks.x=${evil}", "+evil={_target_:pathlib.Path.cwd}", "weights=random")
    assert (answer.status, answer.error) == (1, "error: pathlib.Path.cwd is not allowed at hydra.callbacks.x")


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local", "submitit_slurm"])
def test_hydras_own_parts_are_admitted(launcher: str):
    with hydra.initialize_config_module("vlp.conf", version_base="1.3"):
        config = hydra.compose("probe", [f"hydra/launcher={launcher}"], return_hydra_config=True)
    check_hydra(config.hydra)
