"""A sweeper for experiments that are sweeps.

Hydra's own, given two experiments in one list, drops the parameters of both. This one expands each experiment by its
own ``hydra.sweeper.params``, launches the union once, lets no failing cell stop the others, and names all that failed.

Told to stop, it has the cells on this machine save what they can, whichever launcher runs them, begins none after them
and says which are done. Cells that SLURM runs (``hydra/launcher=submitit_slurm``) go on without the sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hydra_plugins.vlp_sweeper.outcome import tell_outcome
from vlp.commands.children import SweepStopped
from vlp.commands.processes import stopping_together
from vlp.commands.progress import distinct, showing
from vlp.commands.views import viewing
from vlp.durable.stopping import Stopped, deferring, received
from vlp.results import forget_cells, gather

EXPERIMENT = "experiment"

ELSEWHERE = "SlurmLauncher"
"""The launcher whose cells run on other machines."""


class SweepError(RuntimeError):
    """A sweep has no cell, or cells of it failed."""


class ExperimentSweeper(BasicSweeper):
    """Expands lists of experiments, runs all cells, reports those that failed.

    Args:
        max_batch_size: cells handed to the launcher at once; None for all.
        params: what to sweep over, by key, as on the command line.
    """

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(max_batch_size, {key: _as_text(value) for key, value in (params or {}).items()})

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Run every cell of ``arguments``.

        Raises:
            SweepError: if there is no cell, or naming every cell that failed.
            SweepStopped: if it was told to stop, naming the cells that are done and those that are not.
        """
        assert self.config is not None
        cells = self.cells(arguments)
        if not cells:
            raise SweepError(f"nothing to run: {' '.join(arguments) or 'no argument'} expands to no cell")
        self.validate_batch_is_legal(cells)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        forget_cells(folder)
        if type(self.launcher).__name__ == ELSEWHERE:
            returns = self._launch_elsewhere(cells, folder)
        else:
            returns = self._launch_here(cells, folder)
        jobs = [job for batch in returns for job in batch]
        tell_outcome(folder, [job._return_value for job in jobs if job.status == JobStatus.COMPLETED])
        _raise_failed(cells, jobs)
        return returns

    def cells(self, arguments: Sequence[str]) -> list[list[str]]:
        """Return the overrides of every cell: the union, in order, of what each experiment of a list expands to."""
        overrides = self._parse(arguments)
        lists = [
            override for override in overrides if override.key_or_group == EXPERIMENT and override.is_sweep_override()
        ]
        if not lists:
            return self._product(self.params, arguments)
        others = [text for text, override in zip(arguments, overrides, strict=True) if override is not lists[-1]]
        chosen = [f"{EXPERIMENT}={name}" for name in lists[-1].sweep_string_iterator()]
        return [cell for experiment in chosen for cell in self._expand(experiment, others)]

    def _expand(self, experiment: str, others: Sequence[str]) -> list[list[str]]:
        """Return the cells of one experiment of a list, by its own params."""
        assert self.hydra_context is not None
        fixed = [override.input_line or "" for override in self._parse(others) if not override.is_sweep_override()]
        composed = self.hydra_context.config_loader.load_configuration(
            config_name=self._config_name(), overrides=[*fixed, experiment], run_mode=RunMode.MULTIRUN
        )
        params = OmegaConf.to_container(composed.hydra.sweeper.get("params") or OmegaConf.create({}), resolve=True)
        assert isinstance(params, dict)
        return self._product({str(key): _as_text(value) for key, value in params.items()}, [*others, experiment])

    def _product(self, params: Mapping[str, str], arguments: Sequence[str]) -> list[list[str]]:
        """Return the product of parameters and arguments; an argument wins over a parameter of its key.

        A parameter without a value makes no cell.
        """
        given = {override.key_or_group for override in self._parse(arguments)}
        if any(not value and key not in given for key, value in params.items()):
            return []
        chosen = (f"{key}={value}" for key, value in params.items() if value)
        overrides = self._parse([*chosen, *arguments])
        return [cell for batch in self.split_arguments(overrides, None) for cell in batch]

    def _parse(self, arguments: Sequence[str]) -> list[Override]:
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return list(parser.parse_overrides(list(arguments)))

    def _config_name(self) -> str | None:
        assert self.config is not None
        return str(self.config.hydra.job.config_name)

    def _launch_here(self, cells: list[list[str]], folder: Path) -> list[Sequence[JobReturn]]:
        """Launch cells that run on this machine and show how far they are; told to stop, gather what is done."""
        assert self.config is not None
        _leave_to_logs(self.config)
        with (
            suppress(Stopped),
            deferring(),
            stopping_together() as sweep,
            viewing() as view,
            showing(sweep.folder, distinct(cells), view),
        ):
            returns = self._launch(cells)
        if reason := received():
            gather(folder)
            jobs = [job for batch in returns for job in batch]
            done = [_name(cell) for cell, job in zip(cells, jobs, strict=True) if job.status == JobStatus.COMPLETED]
            raise SweepStopped(reason, folder, done, _left(cells, jobs))
        return returns

    def _launch_elsewhere(self, cells: list[list[str]], folder: Path) -> list[Sequence[JobReturn]]:
        """Launch cells that run on other machines; told to stop, leave them to their scheduler."""
        try:
            return self._launch(cells)
        except Stopped as stopped:
            left = [f"{_name(cell)}: left to SLURM (squeue shows it, scancel ends it)" for cell in cells]
            raise SweepStopped(stopped.reason, folder, [], left) from None

    def _launch(self, cells: list[list[str]]) -> list[Sequence[JobReturn]]:
        assert self.launcher is not None
        returns: list[Sequence[JobReturn]] = []
        for batch in self.split_overrides_to_chunks(cells, self.max_batch_size):
            returns.append(self.launcher.launch(batch, initial_job_idx=sum(map(len, returns))))
        return returns


def _leave_to_logs(config: DictConfig) -> None:
    """Have what Hydra and the cells log stand in the cells' logs alone, where another view shows how far they are."""
    with read_write(config), open_dict(config):
        if OmegaConf.select(config, "hydra.hydra_logging.root.level"):
            config.hydra.hydra_logging.root.level = "WARNING"
        if "file" in (OmegaConf.select(config, "hydra.job_logging.root.handlers") or ()):
            config.hydra.overrides.hydra.append("hydra.job_logging.root.handlers=[file]")  # cells are composed anew


def _name(cell: Sequence[str]) -> str:
    return " ".join(cell) or "the only cell"


def _left(cells: Sequence[Sequence[str]], jobs: Sequence[JobReturn]) -> list[str]:
    """Return a line for each cell that is not done: which, and why."""
    return [
        f"{_name(cell)}: {job._return_value}"
        for cell, job in zip(cells, jobs, strict=True)
        if job.status != JobStatus.COMPLETED
    ]


def _raise_failed(cells: Sequence[Sequence[str]], jobs: Sequence[JobReturn]) -> None:
    if failed := _left(cells, jobs):
        raise SweepError("\n  ".join([f"{len(failed)} of {len(cells)} cells failed:", *failed]))


def _as_text(value: Any) -> str:
    """Return a parameter as the command line has it; a YAML list is a list of choices."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) or OmegaConf.is_list(value) else str(value)
