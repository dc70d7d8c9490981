"""The checkpoints of a run: ``step-0000050.ckpt`` and others, and the links ``last.ckpt`` and ``best.ckpt``."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from vlp.checkpointing.writer import CheckpointWriter, verify
from vlp.durable.digests import DamagedError
from vlp.durable.files import replace_link

log = logging.getLogger(__name__)

LAST, BEST = "last", "best"
_NAME = re.compile(r"step-(\d{7,})\.ckpt")


class Generations:
    """A folder of checkpoints, one a step. Files of other names are not touched.

    Args:
        folder: ``checkpoints`` of a run; it need not exist.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def path(self, step: int) -> Path:
        """Return where the checkpoint of a step stands, or will."""
        return self.folder / f"step-{step:07d}.ckpt"

    def all(self) -> list[Path]:
        """Return the checkpoints there are, that of the highest step first."""
        found = [path for path in self.folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name)]
        files = [path for path in found if path.is_file() and not path.is_symlink()]
        return sorted(files, key=_step, reverse=True)

    def newest_good(self) -> Path | None:
        """Return the newest checkpoint that verifies; None where there is none at all. What is damaged is told.

        Raises:
            DamagedError: if there are checkpoints and none is good, naming each.
        """
        damages = []
        for path in self.all():
            try:
                verify(path)
            except (DamagedError, OSError) as error:
                log.warning("%s; looking for an older checkpoint", error)
                damages.append(str(error))
            else:
                return path
        if damages:
            raise DamagedError(f"no checkpoint in {self.folder} is good: {'; '.join(damages)}")
        return None

    def point(self, name: str, target: Path) -> None:
        """Have ``NAME.ckpt`` lead to ``target`` from one instant to the next.

        Raises:
            StorageError: if the disk does not take it.
        """
        replace_link(self.folder / f"{name}.ckpt", target)

    def target(self, name: str) -> Path | None:
        """Return the file that ``NAME.ckpt`` leads to; None where there is none."""
        link = self.folder / f"{name}.ckpt"
        return link.resolve() if link.is_file() else None

    def prune(self, keep: int) -> None:
        """Remove all but the newest ``keep`` checkpoints up to that of ``last.ckpt``; never the one of ``best.ckpt``.

        Those of higher steps neither count nor go: the run went on from an earlier one, and will write them again.

        Args:
            keep: how many stay, 1 or more.

        Raises:
            ValueError: if ``keep`` is below 1.
            StorageError: if the disk does not allow it.
        """
        if keep < 1:
            raise ValueError(f"keep={keep}: expected 1 or more")
        found, last, best = self.all(), self.target(LAST), self.target(BEST)
        ahead = next((index for index, path in enumerate(found) if path.resolve() == last), 0)
        for path in reversed(found[ahead + keep :]):
            if path.resolve() != best:
                CheckpointWriter().remove_checkpoint(path)
        self._remove_orphans()

    def _remove_orphans(self) -> None:
        """Remove sidecars without their checkpoint, left by a writer killed between the two."""
        for place in self.folder.glob("step-*.ckpt.sha256"):
            path = place.with_suffix("")
            if _NAME.fullmatch(path.name) and not path.exists():
                place.unlink(missing_ok=True)


def _step(path: Path) -> int:
    matched = _NAME.fullmatch(path.name)
    assert matched is not None, path
    return int(matched[1])
