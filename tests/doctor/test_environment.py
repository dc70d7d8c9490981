"""What the doctor says of packages, folders and keys."""

from __future__ import annotations

import errno
import tempfile
from importlib import metadata
from pathlib import Path

import pytest

from vlp.doctor import environment
from vlp.doctor.environment import examine_folder, examine_machine, examine_packages, examine_services
from vlp.doctor.findings import FAILED, NOTE, OK, Finding

INSTALLED = {"ours": "1.0", "torch": "2.11.0", "pytorch-lightning": "2.6.3", "torchvision": "0.25", "transformers": "5"}
REQUIRES = {
    "ours": [
        "torch>=2.11",
        "pytorch-lightning<3,>=2.6.6",
        "absent>=1",
        'elsewhere; sys_platform == "nowhere"',
        'h5py>=3; extra == "store"',
    ],
    "torchvision": ["torch==2.10.0"],
}


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name not in INSTALLED:
            raise metadata.PackageNotFoundError(name)
        return INSTALLED[name]

    monkeypatch.setattr(environment.metadata, "version", version)
    monkeypatch.setattr(environment.metadata, "requires", lambda name: REQUIRES[name])


def test_old_missing_and_mismatched_packages_are_named(packages: None):
    found = {finding.subject: (finding.state, finding.found) for finding in examine_packages("ours")}
    assert found.pop("python")[0] == OK
    assert found == {
        "pytorch-lightning": (FAILED, "found 2.6.3, expected <3,>=2.6.6"),
        "absent": (FAILED, "not installed, expected >=1"),
        "torchvision": (FAILED, "built for torch==2.10.0: found 2.11.0, expected ==2.10.0"),
        "extra store": (NOTE, "h5py not installed, expected >=3"),
    }


def test_a_clone_that_was_never_installed_is_told(packages: None):
    (finding,) = examine_packages("never-installed")
    assert (finding.state, finding.advice) == (FAILED, environment.INSTALL)


def test_a_folder_that_takes_no_file_fails_and_a_full_disk_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert examine_folder("outputs", tmp_path / "not/made", "paths.outputs=DIR").state == OK
    assert not (tmp_path / "not").exists()
    monkeypatch.setattr(environment, "LITTLE_SPACE", 1 << 80)
    assert examine_folder("outputs", tmp_path, "paths.outputs=DIR").state == NOTE

    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert examine_folder("outputs", tmp_path, "paths.outputs=DIR") == Finding(
        FAILED, "outputs", f"{tmp_path} takes no file: Read-only file system", "choose another: paths.outputs=DIR"
    )


def test_a_key_is_named_and_not_shown():
    without, given = (list(examine_services(env))[-1] for env in ({}, {"WANDB_API_KEY": "secret"}))
    assert (without.state, given.state) == (NOTE, OK)
    assert "secret" not in given.found + given.advice


def test_threads_and_devices_that_were_chosen_are_told():
    told = " ".join(finding.found for finding in examine_machine({"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": ""}))
    assert "OMP_NUM_THREADS=3" in told
    assert "none is used" in told
