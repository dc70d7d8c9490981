"""``run.json``: how a run was made, so that it can be made again."""

from __future__ import annotations

import json
import logging
import platform
import resource
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vlp.durable.files import write_text
from vlp.results import RUN_FILE

log = logging.getLogger(__name__)

LIBRARIES = ("vlp-probe", "torch", "pytorch-lightning", "torchmetrics", "transformers", "tokenizers", "numpy")


class RunRecord:
    """Keeps time from its making on, and writes what a run was.

    Args:
        command: the command line that asked for the run.
        content: the content hash.
        seed: the run's seed.
    """

    def __init__(self, command: str, content: str, seed: int) -> None:
        self.started = time.time()
        self.known: dict[str, Any] = {"command": command, "content_hash": content, "seed": seed}

    def write(self, folder: Path, finished: bool, **more: Any) -> None:
        """Write ``run.json`` into ``folder``, whole and durably or not at all.

        Raises:
            StorageError: if the disk does not take it.
        """
        record = {
            **self.known,
            "finished": finished,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.started)),
            "wall_time_s": round(time.time() - self.started, 3),
            "peak_memory_bytes": peak_memory(),
            "device": device_name(),
            "git_commit": git_commit(),
            "versions": versions(),
            **what_was_set(folder),
            **more,
        }
        write_text(folder / RUN_FILE, json.dumps(record, indent=2, sort_keys=True) + "\n")


def read_record(folder: Path) -> dict[str, Any]:
    """Return a folder's ``run.json``; empty where there is none, and with a warning where it cannot be read."""
    path = folder / RUN_FILE
    try:
        record = json.loads(path.read_text("utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"expected a JSON object, found {type(record).__name__}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s is damaged and taken as missing: %s", path, error)
        return {}
    return record


def what_was_set(folder: Path) -> dict[str, Any]:
    """Return what the config beside a run's record says of this run alone; nothing where there is none.

    ``own_command`` makes the run again without the others of its sweep; ``prober_seeds`` are those of a trained probe.
    """
    try:
        config, overrides = (OmegaConf.load(folder / ".hydra" / name) for name in ("config.yaml", "overrides.yaml"))
    except (OSError, YAMLError, OmegaConfBaseException):
        return {}  # a training's are Hydra's, which does not write them whole or not at all
    if not isinstance(config, DictConfig) or not isinstance(overrides, ListConfig):
        return {}
    known: dict[str, Any] = {"own_command": shlex.join(["python", f"{config.get('entry')}.py", *map(str, overrides)])}
    seeds = OmegaConf.select(config, "prober.fitting.seeds")
    return known if seeds is None else known | {"prober_seeds": list(seeds)}


def command_line() -> str:
    """Return the command this process was started with."""
    return shlex.join([Path(sys.executable).name, *sys.argv])


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that numbers depend on."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Return the commit of the clone this code stands in, ``+changes`` added where files differ; None for a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        told = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
        return subprocess.run(told, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def device_name() -> str:
    """Return the name of the accelerator, or of the processor where there is none."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return processor_name() or platform.processor() or platform.machine()


def processor_name() -> str:
    """Return the name that Linux gives the processor, empty where it gives none."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def peak_memory() -> int:
    """Return the most memory this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
