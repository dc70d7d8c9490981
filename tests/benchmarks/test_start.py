"""What is said of a start, with the seconds given."""

from __future__ import annotations

import pytest

from benchmarks import start


def test_the_first_start_does_not_count_and_each_command_has_a_goal(monkeypatch: pytest.MonkeyPatch):
    seconds = iter([(9.0, 9.0), (1.0, 0.5), (3.0, 0.6), (1.5, 0.7)] * 2)
    asked: list[list[str]] = []

    def answer(arguments: list[str]) -> tuple[float, float]:
        asked.append(arguments)
        return next(seconds)

    monkeypatch.setattr(start, "answer", answer)
    goals = start.measure(rounds=3)
    assert asked == [["--help"]] * 4 + [["--cfg", "job"]] * 4
    assert [goal.name for goal in goals] == ["seconds of probe.py --help", "seconds of probe.py --cfg job"]
    for goal in goals:
        assert (goal.value, goal.best, goal.limit, goal.verdict) == (1.5, 1.0, 2.0, "pass, disturbed")
        assert goal.note == "0.60 s of the processor"


@pytest.mark.parametrize(("waited", "verdict"), [(1.1, "pass"), (1.3, "pass, disturbed")])
def test_a_start_that_waits_for_other_jobs_is_disturbed(waited: float, verdict: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(start, "answer", lambda arguments: (waited, 0.6))
    assert [goal.verdict for goal in start.measure(rounds=2)] == [verdict] * 2


def test_a_command_that_fails_is_told():
    with pytest.raises(RuntimeError) as caught:
        start.answer(["--cfg", "nothing"])
    assert str(caught.value).startswith("probe.py --cfg nothing ended with 2:\nusage: ")
