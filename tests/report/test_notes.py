from dataclasses import replace
from pathlib import Path

from tests.report.samples import RUN, TRAINED, records, row
from vlp.report.notes import notes
from vlp.report.reading import Cell, Findings
from vlp.results import Row, Subject


def told(subject: Subject, *rows: Row, **run: object) -> str:
    return "\n".join(notes(Findings((Cell(Path("cells/abc"), tuple(records(subject, rows)), {**RUN, **run}),), ())))


def test_a_generated_world_and_a_tiny_model_are_said_to_be_neither_photographs_nor_the_papers():
    text = told(TRAINED, row("model", "accuracy", 0.9, 0.01))
    assert "Numbers on scenes are about a small generated world" in text
    assert "Models of size tiny are far smaller than the papers'" in text
    assert "All rows have one seed" in text


def test_a_base_model_on_real_data_is_not_warned_about():
    subject = replace(TRAINED, size="base", dataset="flickr30k_entities")
    assert told(subject, row("model", "accuracy", 0.9, 0.01)) == (
        "All rows have one seed: intervals cover the choice of items, not of the seed."
    )


def test_few_items_and_missing_intervals_are_told_with_the_first():
    text = told(TRAINED, row("model", "accuracy", 0.9, n=20, label="itm"))
    assert "Numbers on fewer than 100 items: 1 (fewest: 20, pretraining, uniter, scenes, accuracy, model, itm)" in text
    assert "Numbers without an interval: 1 (first: pretraining, uniter, scenes, accuracy, model, itm)" in text


def test_uncommitted_changes_and_unfinished_runs_are_told():
    text = told(TRAINED, row("model", "accuracy", 0.9, 0.01), git_commit="0123abcd+changes", finished=False)
    assert "uncommitted changes" in text
    assert "Not finished when this was written: abc." in text


def test_data_and_sizes_that_differ_are_told():
    cells = [
        Cell(Path(name), tuple(records(replace(TRAINED, dataset=name), [row("model", "accuracy", 0.9, 0.01)])), RUN)
        for name in ("scenes", "nlvr")
    ]
    assert "Rows differ in dataset (nlvr, scenes): compare models only within one dataset." in notes(
        Findings(tuple(cells), ())
    )


def test_of_two_values_for_one_thing_both_cells_are_named():
    cells = [
        Cell(Path("cells") / name, tuple(records(TRAINED, [row("model", "accuracy", value, 0.01)])), RUN)
        for name, value in (("abc", 0.9), ("def", 0.8))
    ]
    assert (
        "Rows about the same thing as another row, with another value: 1 (first: pretraining, uniter, scenes, "
        "accuracy, model: 90.0% in abc, kept, and 80.0% in def, left out)."
    ) in notes(Findings(tuple(cells), ()))
