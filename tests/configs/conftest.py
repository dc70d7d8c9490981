"""A folder that a user trusts with ``--config-dir``, for the length of a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vlp.configs import targets, trust_folder


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(targets, "_trusted", [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "mine"
    folder.mkdir()
    trust_folder(folder)
    return folder
