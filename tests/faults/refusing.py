"""What may come of hostile input: a result or an error of ours that names it, in bounded time and memory."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.faults.case import Verdict

LIMIT_S = 20.0
"""For one input, on a machine that does other things too."""

MEMORY = 1 << 30
"""Bytes of address space above what the process had."""

SHOWN = 5
"""Troubles told of one case."""


class Hang(BaseException):
    """An input took longer than `LIMIT_S`."""


@dataclass(frozen=True)
class Answer:
    """What came of one input.

    Args:
        result: what was made of it; None where it was refused.
        message: why it was refused.
        trouble: what is wrong with the answer; empty where it is as it should be.
        is_silent: the trouble is that the message does not name the input.
    """

    result: object = None
    message: str = ""
    trouble: str = ""
    is_silent: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether the input was refused as it should be."""
        return bool(self.message) and not self.trouble


def ask(use: Callable[[], object], names: Sequence[str]) -> Answer:
    """Put an input to the code under test; where it is refused, one of ``names`` has to stand in the message."""
    try:
        with _time_limit():
            return Answer(result=use())
    except (ValueError, OSError) as error:
        message = str(error)
        if not any(name in message for name in names):
            return Answer(message=message, trouble=f"names none of {names}: {message}", is_silent=True)
        if not message.isprintable():
            return Answer(message=message, trouble=f"no line of text: {message!r}")
        return Answer(message=message)
    except (Exception, Hang) as error:  # noqa: BLE001 - whatever else it is, is what the case is about
        return Answer(trouble=f"{type(error).__name__}: {str(error)[:500]}")


def verdict(answers: Sequence[Answer], troubles: Sequence[str] = ()) -> Verdict:
    """Return what to say of a case; ``troubles`` are others than those of the answers."""
    lost = [answer.trouble for answer in answers if answer.trouble and not answer.is_silent] + list(troubles)
    silent = [answer.trouble for answer in answers if answer.is_silent]
    refused = sum(answer.is_refused for answer in answers)
    messages = [answer.message for answer in answers if answer.is_refused]
    detail = [f"{len(answers)} inputs, {refused} refused by name", *messages[:1], *lost[:SHOWN], *silent[:SHOWN]]
    return Verdict(not lost, not silent, "\n".join(detail), len(answers))


@contextmanager
def bounded_memory(more: int = MEMORY) -> Iterator[None]:
    """Let this process, which was forked for the purpose, have no more address space than ``more`` bytes on top."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def _time_limit() -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise Hang(f"no answer after {LIMIT_S:.0f} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
