"""What every test starts from: one thread, a fixed seed, no network, results in a temporary folder."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

# Read at import by the libraries named, and handed down to every process that a test starts.
os.environ.update(
    OMP_NUM_THREADS="1",
    MPLBACKEND="Agg",
    HF_HUB_OFFLINE="1",
    WANDB_MODE="offline",
    TOKENIZERS_PARALLELISM="false",
)

import numpy as np
import pytest
import torch

from vlp.durable import stopping

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Seed every generator that a test may draw from without saying so."""
    random.seed(0)
    np.random.seed(0)  # libraries under test draw from it
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine: the suite has to pass without a network."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if host and host != "localhost" and not str(host).startswith(("127.", "::1")):
            raise OSError(f"a test tried to reach {address}; tests run without a network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)


@pytest.fixture
def own_handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install our handlers of signals, as a process that was told nothing; put back those there were."""
    monkeypatch.setattr(stopping, "_state", stopping._State())
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    stopping.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a temporary folder, so that default output folders lie there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real samples that may lie beside the clone."""
    if not SHARED.is_dir():
        pytest.skip(f"real samples are not at {SHARED}; put them there to run this test")
    return SHARED
