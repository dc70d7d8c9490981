"""What a machine offers: packages, threads, devices, folders and keys. Imports no torch and asks no network."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from vlp.commands.plans import outputs_folder
from vlp.configs import user_folder
from vlp.doctor.findings import FAILED, NOTE, OK, Finding

PACKAGE = "vlp-probe"
INSTALL = "make env, or pip install -e ."

LITTLE_SPACE = 2 * 1024**3
"""Bytes; a checkpoint of a model of base size with its optimiser takes 1.3 GB, and two are kept besides the best."""

WANDB_KEY = "WANDB_API_KEY"
OFFLINE = "HF_HUB_OFFLINE"


def examine_environment(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what there is to say of the machine and the environment.

    Args:
        config: a resolved ``conf/probe.yaml``, for its folders.
    """
    yield from examine_packages()
    yield from examine_machine()
    yield from examine_folders(config)
    yield from examine_services()


def examine_packages(package: str = PACKAGE) -> Iterator[Finding]:
    """Yield one line for all required packages in order, one for each that is not, and one for each extra."""
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        yield Finding(FAILED, package, "not installed, so what it requires is unknown", INSTALL)
        return
    yield Finding(OK, "python", f"{platform.python_version()}, {package} {version}")
    required = [Requirement(line) for line in metadata.requires(package) or []]
    needed = [requirement for requirement in required if not _extras(requirement)]
    faults = [fault for requirement in needed if (fault := _fault(requirement))]
    for fault in faults:
        yield Finding(FAILED, *fault, INSTALL)
    if not faults:
        named = [f"{name} {metadata.version(name)}" for name in ("torch", "pytorch-lightning", "transformers")]
        yield Finding(OK, "packages", f"{len(needed)} required ones, among them {', '.join(named)}")
    yield from _pinned_torch()
    for extra in sorted({extra for requirement in required for extra in _extras(requirement)}):
        yield _extra(package, extra, [requirement for requirement in required if extra in _extras(requirement)])


def _pinned_torch() -> Iterator[Finding]:
    """Yield a line if torchvision was built for another torch, which fails when it is imported."""
    try:
        pins = [Requirement(line) for line in metadata.requires("torchvision") or []]
    except metadata.PackageNotFoundError:  # told already
        return
    for pin in pins:
        if pin.name == "torch" and (fault := _fault(pin)):
            yield Finding(FAILED, "torchvision", f"built for {pin}: {fault[1]}", "pip install -U torch torchvision")


def _extras(requirement: Requirement) -> list[str]:
    """Return the extra that a requirement belongs to, in a list; empty for one that is always needed."""
    marker = str(requirement.marker or "")
    return [marker.rpartition("extra == ")[2].strip("\"'")] if "extra == " in marker else []


def _fault(requirement: Requirement) -> tuple[str, str] | None:
    """Return a package's name and what is wrong with it, None where it is as required."""
    if requirement.marker and not _extras(requirement) and not requirement.marker.evaluate():
        return None
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return requirement.name, f"not installed, expected {requirement.specifier or 'any version'}"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return requirement.name, f"found {version}, expected {requirement.specifier}"


def _extra(package: str, extra: str, required: list[Requirement]) -> Finding:
    faults = [" ".join(fault) for requirement in required if (fault := _fault(requirement))]
    if not faults:
        return Finding(OK, f"extra {extra}", ", ".join(requirement.name for requirement in required))
    return Finding(NOTE, f"extra {extra}", "; ".join(faults), f"pip install '{package}[{extra}]', if you need it")


def examine_machine(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Yield the processors and devices; those of NVIDIA by their driver, which needs no torch."""
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity else os.cpu_count()
    threads = environment.get("OMP_NUM_THREADS")
    limit = f"OMP_NUM_THREADS={threads}" if threads else "OMP_NUM_THREADS is not set, so torch takes all"
    yield Finding(OK, "processors", f"{usable} usable of {os.cpu_count()}; {limit}")
    driver = Path("/proc/driver/nvidia/gpus")
    gpus = len(list(driver.iterdir())) if driver.is_dir() else 0
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    shown = "" if visible is None else f"; CUDA_VISIBLE_DEVICES={visible or '(empty: none is used)'}"
    yield Finding(OK, "gpus", (f"{gpus} of NVIDIA" if gpus else "no NVIDIA driver; all runs on the processor") + shown)


def examine_folders(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield whether outputs can be written and how much space there is, and where a user's own configs are."""
    yield examine_folder("outputs", Path(outputs_folder(config)), "paths.outputs=DIR, or outputs in paths/local.yaml")
    activations = (config.get("cache") or {}).get("dir")
    if activations is not None:
        yield examine_folder("activations", Path(activations).absolute(), "cache.dir=DIR, or cache=off")
    own = user_folder()
    found = f"{own} is on the search path" if own.is_dir() else f"none; {own} would be on the search path"
    yield Finding(OK, "own configs", found)


def examine_folder(subject: str, folder: Path, how: str) -> Finding:
    """Return whether ``folder``, or what of its path exists, takes a file, and has room for checkpoints.

    Args:
        subject: what is kept there.
        folder: absolute; it need not exist, and is not made.
        how: how another one is chosen.
    """
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding(FAILED, subject, f"{place} takes no file: {error.strerror or error}", f"choose another: {how}")
    found = f"{folder}, {free / 1024**3:.1f} GiB free"
    if free < LITTLE_SPACE:
        return Finding(NOTE, subject, found, f"make room, or choose another: {how}")
    return Finding(OK, subject, found)


def examine_services(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Yield what the network would be used for, without using it; a key is named, never shown."""
    off = f"; {OFFLINE}={environment[OFFLINE]}" if environment.get(OFFLINE) else ""
    yield Finding(OK, "network", f"needed by tokenizer=HUB_NAME and logger=wandb alone, so not tried{off}")
    if environment.get(WANDB_KEY):
        yield Finding(OK, WANDB_KEY, "set in the environment")
    else:
        yield Finding(NOTE, WANDB_KEY, "not set", "logger=wandb needs it, unless logger.offline=true")
