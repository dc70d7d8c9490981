"""SIGKILL at random moments; what is started again has to end as what was never interrupted, to the bit."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.case import Case, Verdict
from tests.faults.nursery import COMPUTING, LIMIT_S, Watch
from tests.faults.runs import RUN, Probing, Subject, Training

GROUP = "kills"
FORKED_TRAININGS, FORKED_PROBINGS, KILLS = 40, 5, 4
STARTED_TRAININGS, STARTED_KILLS = 10, 2
"""40 * 4 + 5 * 4 + 10 * 2 = 200 kills."""

CHOICES: Mapping[str, Sequence[Sequence[str]]] = {
    "objective": (("objective=scenes_uniter",), ("objective=uniter",)),
    "dropout": ((), ("size.dropout=0.1", "size.attention_dropout=0.1")),
    "workers": tuple((f"dataset.num_workers={number}",) for number in (0, 1, 2)),
    "accumulated": tuple((f"trainer.accumulate_grad_batches={number}",) for number in (1, 3)),
    "length": (("trainer.max_steps=10",), ("trainer.max_steps=-1", "trainer.max_epochs=3")),
    "validation": tuple((f"trainer.val_check_interval={batches}",) for batches in (4, 6)),  # an epoch has 6
    "interval": tuple((f"checkpoint.every_n_steps={steps}",) for steps in (1, 2, 5, 6)),
    "keep": tuple((f"checkpoint.keep={number}",) for number in (1, 2, 3)),
    "logged": tuple((f"trainer.log_every_n_steps={steps}",) for steps in (1, 3)),
    "curves": (("callbacks=default",), ("callbacks=none",)),
}
"""What trainings differ in."""


def cases(seed: int, count: int | None = None) -> list[Case]:
    """Return trainings and measurements to be killed; the command lines, which are slow, come last."""
    trainings = [_case(Training(drawn), KILLS, seed) for drawn in draw(FORKED_TRAININGS, seed)]
    every = FORKED_TRAININGS // FORKED_PROBINGS
    found = []
    for number in range(FORKED_PROBINGS):
        probing = _case(Probing((f"seed={number}",)), KILLS, seed)
        found += [probing, *trainings[number * every : (number + 1) * every]]
    longer = ("trainer.max_epochs=-1", "trainer.max_steps=60")  # else most kills would hit the imports
    for drawn in draw(STARTED_TRAININGS, seed + 1):
        found.append(_case(Training((*drawn, *longer), is_forked=False), STARTED_KILLS, seed))
    return found[:count]


def draw(number: int, seed: int) -> list[tuple[str, ...]]:
    """Return the overrides of ``number`` trainings, in which each choice of a kind is made equally often."""
    generator = random.Random(seed)
    columns = []
    for options in CHOICES.values():
        column = [options[place % len(options)] for place in range(number)]
        generator.shuffle(column)
        columns.append(column)
    return [tuple(override for options in row for override in options) for row in zip(*columns, strict=True)]


def _case(subject: Subject, kills: int, seed: int) -> Case:
    entry = subject.command[0] if subject.is_forked else f"{subject.command[0]}.py"
    name = " ".join([entry, *subject.overrides])
    return Case(GROUP, name, lambda folder: Ordeal(subject, folder, random.Random(f"{seed} {name}")).verdict(kills))


class Ordeal:
    """Kills of one command, each time gone on with in what is left, and what comes of it.

    Args:
        subject: the command.
        folder: where it is done, beside a reference that is left alone.
        generator: of the moments.

    Raises:
        RuntimeError: if the reference fails.
    """

    def __init__(self, subject: Subject, folder: Path, generator: random.Random) -> None:
        self.subject, self.folder, self.generator = subject, folder, generator
        self.hits: Counter[str] = Counter()
        self.starts = self.late = 0
        self.wrong: list[str] = []
        self.silent: list[str] = []
        self.reference = folder / "reference"
        self._leave_alone()
        self.place = self._new()

    def verdict(self, kills: int) -> Verdict:
        """Kill the command ``kills`` times, go on to its end, and return the verdict on all of that.

        A command that ends before it is to be killed counts as no kill; the next one begins anew.

        Raises:
            RuntimeError: if far more of them come too late.
        """
        while self.hits.total() < kills:
            self._kill()
            if self.late > 5 * kills:
                raise RuntimeError(f"{self.late} kills came too late, {self.hits.total()} did not")
        self._start(Watch())
        self._end()
        counts = ", ".join(f"{number} {phase}" for phase, number in sorted(self.hits.items()))
        detail = "\n".join([f"killed {counts}; {self.late} came too late", *self.wrong, *self.silent])
        return Verdict(not self.wrong, not self.silent, detail, inputs=self.hits.total())

    def _leave_alone(self) -> None:
        """Make the reference, and measure it: seconds, seconds until it begins to compute, operations on files."""
        self.place, watch = self.reference, Watch()
        self.place.mkdir()
        begun = self.place / RUN / "metrics.csv"
        started = time.monotonic()
        self._start(watch)
        while not begun.exists() and self.child.wait(0.02) is None:
            self.seconds_to_begin = time.monotonic() - started
        if status := self.child.end():
            raise RuntimeError(f"left alone it ended with {status}:\n{self._said()}")
        self.seconds, self.operations = time.monotonic() - started, watch.operations

    def _new(self) -> Path:
        place = self.folder / f"killed-{self.late}"
        place.mkdir()
        return place

    def _start(self, watch: Watch) -> None:
        self.starts += 1
        self.log = self.folder / f"start-{self.starts}.log"
        self.expected = self.subject.goes_on_from(self.place)
        self.child = self.subject.start(self.place, self.log, watch)

    def _kill(self) -> None:
        """Start the command and kill it.

        One in two forked commands is killed between two operations on files, one in two others when it has begun to
        compute; the rest at any time.
        """
        is_special = self.generator.random() < 0.5
        seconds = self.generator.uniform(self.seconds_to_begin if is_special else 0, self.seconds)
        operation = self.generator.randint(1, self.operations) if is_special and self.subject.is_forked else None
        watch = Watch(operation)
        self._start(watch)
        if not self.child.killed_after(LIMIT_S if operation else seconds):
            self._end()
            self.late += 1
            self.place = self._new()
            return
        phase = watch.phase if self.subject.is_forked else "at the command line"
        self.hits[phase] += 1
        self.wrong += self.subject.damage(self.place, self.reference)
        if phase in COMPUTING:
            self._check_said()

    def _end(self) -> None:
        """Wait for the command's end and compare it with the reference."""
        if status := self.child.end():
            self.wrong.append(f"{self.log}: it ended with {status}:\n{self._said()}")
        self._check_said()
        self.wrong += self.subject.differences(self.place, self.reference)

    def _check_said(self) -> None:
        """Check that the last start said what it went on from."""
        if self.expected not in self._said():
            self.silent.append(f"{self.log}: it did not say that it goes on from {self.expected}")

    def _said(self) -> str:
        return self.log.read_text("utf-8", errors="replace")
