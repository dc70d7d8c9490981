"""Measuring what an artefact lacks: the probe command on its experiment, in a fresh process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vlp.commands.processes import PARENT, run_child
from vlp.published import Artefact

PROBE = """\
import sys
sys.argv[0] = "probe.py"
sys.orig_argv = [sys.executable, *sys.argv]
from vlp.commands.app import probe_main
probe_main()
"""
"""What ``probe.py`` and ``vlp-probe`` do, either of which may be missing where we are installed; told as the former."""


def measure(artefact: Artefact, folder: Path, overrides: Sequence[str] = ()) -> int:
    """Run the artefact's experiment into ``folder`` and return the exit status; finished cells are not run again.

    Raises:
        Stopped: if this process was told to stop, when the sweep has ended.
    """
    arguments = probe_arguments(artefact, folder, overrides)
    return run_child(["-c", PROBE, *arguments], {**os.environ, PARENT: str(os.getpid())})


def probe_arguments(artefact: Artefact, folder: Path, overrides: Sequence[str]) -> list[str]:
    """Return the arguments of the probe command; the user's come last and win."""
    return [f"experiment={artefact.experiment}", f"hydra.sweep.dir={quoted(str(folder))}", *overrides]


def quoted(text: str) -> str:
    """Return ``text`` as a value that Hydra's command line takes as it is."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
