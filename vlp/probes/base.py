"""What every probe is: a LightningModule over frozen encoders that gives rows of the result table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from vlp.data.dataset import VLDataset
from vlp.data.loading import probe_loader
from vlp.data.tokenisation import CaptionTokenizer
from vlp.metrics.estimates import Estimate
from vlp.models.encoder import VLEncoder
from vlp.results import FRACTIONS, Row


class Probe(pl.LightningModule):
    """A question put to a model, and to the same architecture with random weights.

    A subclass adds to torchmetrics in `test_step`, one sample exactly once, and makes rows of them in `results`. Run it
    with ``trainer.test(probe, probe.loader(...))``, then read `rows`. Encoders stay frozen and in ``eval()``, whatever
    Lightning sets the probe to.

    Args:
        encoder: the model in question.
        control: the same architecture with random weights.
        seed: of everything random in the probe.
        needs: annotations without which a dataset is refused, out of `vlp.data.sample.ANNOTATIONS`.

    Raises:
        ValueError: if the probe cannot be put to the model.
    """

    def __init__(self, encoder: VLEncoder, control: VLEncoder, seed: int = 0, needs: Iterable[str] = ()) -> None:
        super().__init__()
        needs = frozenset(needs)
        self.check_encoder(encoder, needs, type(self).__name__)
        self.encoder = encoder.requires_grad_(False)
        self.control = control.requires_grad_(False)
        self.seed = seed
        self.needs = needs
        self._rows: list[Row] | None = None
        self.train(False)

    @classmethod
    def check_encoder(cls, encoder: VLEncoder, needs: Iterable[str], probe: str) -> None:
        """Refuse a model that the probe cannot be put to; weights play no part, so that it costs nothing.

        A subclass adds what it asks of a model.

        Args:
            encoder: the model.
            needs: the probe's annotations; with regions among them it looks at the tokens of regions.
            probe: its name, for errors.

        Raises:
            ValueError: naming model and probe.
        """
        if "regions" in needs and encoder.reads != "regions":
            raise ValueError(
                f"model {encoder.name} reads {encoder.reads} and has no region tokens; probe {probe} needs them"
            )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse values of options that nothing can be made of; it is asked before weights are trained.

        A subclass says which. An option that is not among ``options`` is left.

        Raises:
            ValueError: naming option, value and what is expected.
        """

    def train(self, mode: bool = True) -> Self:
        """Set the mode of what the probe trains; encoders stay in ``eval()``."""
        super().train(mode)
        self.encoder.eval()
        self.control.eval()
        return self

    def loader(
        self, dataset: VLDataset, tokenizer: CaptionTokenizer, batch_size: int, num_workers: int = 0
    ) -> DataLoader[Any]:
        """Return the batches `test_step` gets: every sample of ``dataset`` once, as `ProbeBatch`."""
        encoder = self.encoder
        return probe_loader(dataset, tokenizer, batch_size, num_workers, encoder.max_positions, encoder.pixel_input)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Take a batch into the account."""
        raise NotImplementedError

    def results(self) -> list[Row]:
        """Return the rows of what was accounted; called on every process at the end of the test."""
        raise NotImplementedError

    def on_test_epoch_end(self) -> None:
        """Sum up over all processes."""
        self._rows = self.results()

    def rows(self) -> list[Row]:
        """Return the rows of the test that was run.

        Raises:
            RuntimeError: if none was.
        """
        if self._rows is None:
            raise RuntimeError(f"{type(self).__name__}.rows() was asked for before trainer.test")
        return self._rows

    def draw(self, folder: Path) -> list[Path]:
        """Draw into ``folder`` what rows do not show, and return the files."""
        return []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen encoders out: they come from the weights, not from the probe."""
        frozen = ("encoder.", "control.")
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: value for key, value in state.items() if not key.startswith(frozen)}


def unusual(options: Mapping[str, str], usual: Mapping[str, str]) -> str:
    """Return, as rows have it in ``parameter``, the options that are not the usual ones: ``specials=text``."""
    return ",".join(f"{name}={value}" for name, value in options.items() if value != usual[name])


def estimated_row(
    condition: str, metric: str, estimate: Estimate, index: int | tuple[int, ...] = (), **columns: Any
) -> Row:
    """Return the row of one entry of an estimate; the interval of a fraction ends at 0 and 1.

    Args:
        condition: what was measured.
        metric: the word for the number.
        estimate: a mean over samples.
        index: which entry; ``()`` of a number.
        columns: other fields of `Row`.

    Raises:
        ValueError: if no sample had a value.
    """
    entry = Estimate(*(part[index] for part in estimate))
    if not entry.n:
        raise ValueError(f"{metric} of {condition}: none of {int(entry.skipped)} samples has a value")
    has_interval = bool(torch.isfinite(entry.low))
    lowest, highest = (0.0, 1.0) if metric in FRACTIONS else (-math.inf, math.inf)
    return Row(
        condition=condition,
        metric=metric,
        value=float(entry.value),
        n=int(entry.n),
        ci_low=max(lowest, float(entry.low)) if has_interval else None,
        ci_high=min(highest, float(entry.high)) if has_interval else None,
        **columns,
    )
