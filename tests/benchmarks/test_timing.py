"""Interleaved timing, ratios and the table of goals."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks.goals import Goal, table
from benchmarks.timing import Ratio, clock_of, interleave, ratio


def test_every_contender_runs_once_before_and_then_in_rotating_order():
    calls: list[str] = []
    contenders = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = interleave(contenders, rounds=4)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(rounds) for name, rounds in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_the_clock_is_read_around_each_run():
    seconds = iter([0.0, 2.0, 10.0, 13.0])
    times = interleave({"a": lambda: None, "b": lambda: None}, rounds=1, clock=lambda: next(seconds))
    assert times == {"a": [2.0], "b": [3.0]}


def test_the_clock_is_read_when_a_gpu_has_done_what_it_was_told(monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("waited"))
    monkeypatch.setattr(time, "perf_counter", lambda: calls.append("read") or 1.0)
    interleave({"a": lambda: calls.append("run")}, rounds=1, clock=clock_of("cuda"))
    assert calls == ["run", "waited", "read", "run", "waited", "read"]
    assert clock_of("cpu") is time.process_time


def test_a_ratio_is_the_median_over_rounds_and_between_the_best():
    found = ratio({"ours": [2.0, 3.0, 12.0], "peer": [4.0, 5.0, 4.0]}, "ours", "peer")
    assert found == Ratio(median=0.6, best=0.5)
    assert found.is_disturbed
    assert not Ratio(median=0.6, best=0.58).is_disturbed


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [
        (Goal("cost", 0.6, 0.65), "pass"),
        (Goal("cost", 0.7, 0.65), "FAIL"),
        (Goal("speed", 60, 50, at_least=True), "pass"),
        (Goal("speed", 40, 50, at_least=True), "FAIL"),
        (Goal("cost", float("nan"), 0.65), "not measured"),
        (Goal("images/s", float("nan")), "not measured"),
        (Goal("images/s", 300), "measured"),
        (Goal.of_ratio("cost", Ratio(0.6, 0.5), 0.65), "pass, disturbed"),
    ],
)
def test_a_verdict_says_whether_the_figure_keeps_to_its_limit(goal: Goal, verdict: str):
    assert goal.verdict == verdict


def test_the_table_shows_figure_goal_verdict_and_note():
    goals = [Goal("bf16 step", float("nan"), 0.3, note="no AMX"), Goal.of_ratio("pass", Ratio(1.03, 1.02), 1.06)]
    header, first, second = table(goals).splitlines()
    assert header.split() == ["what", "median", "best", "goal", "verdict"]
    assert first.split() == ["bf16", "step", "nan", "<=", "0.3", "not", "measured", "(no", "AMX)"]
    assert second.split() == ["pass", "1.030", "1.020", "<=", "1.06", "pass"]
