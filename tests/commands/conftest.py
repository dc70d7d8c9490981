"""Commands called inside the test process, in a temporary folder, on models and data of the smallest size."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vlp.commands import app
from vlp.configs import targets

SMALLEST = (
    "size.layers=1",
    "size.text_layers=1",
    "size.vision_layers=1",
    "size.cross_layers=1",
    "size.width=16",
    "size.heads=2",
    "size.feed_forward=32",
    "dataset.size=8",
    "trainer.accelerator=cpu",
)
"""A whole run in about a second."""


@dataclass(frozen=True)
class Outcome:
    """What a command said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line of stderr."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


Command = Callable[..., Outcome]


@pytest.fixture
def command(
    in_temporary_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own_handlers: None,
) -> Iterator[Command]:
    """Return a function that calls ``train`` or ``probe`` as the command line does."""
    monkeypatch.setattr(targets, "_trusted", [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(in_temporary_folder / name))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    handlers, level = logging.root.handlers[:], logging.root.level

    def call(entry: str, *arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", [f"{entry}.py", *arguments])
        monkeypatch.setattr(sys, "orig_argv", ["python", f"{entry}.py", *arguments])
        status = 0
        capsys.readouterr()
        try:
            app.run(entry)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        said = capsys.readouterr()
        return Outcome(status, said.out, said.err)

    yield call
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carry out a sweep's cells in this process instead of a fresh one each: starts are slow."""

    def carry_out(plan: app.Plan, environment: dict[str, str]) -> Path:
        return app.carry_out(plan)

    monkeypatch.setattr(app, "carry_out_in_child", carry_out)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[app.Plan]:
    """Collect the plans that a command makes, and carry out none."""
    made: list[app.Plan] = []

    def keep(plan: app.Plan, *_: object) -> Path:
        made.append(plan)
        raise KeptError("kept")

    monkeypatch.setattr(app, "carry_out_in_child", keep)
    monkeypatch.setattr(app, "carry_out", keep)
    return made


class KeptError(Exception):
    """A plan was kept and not carried out."""
