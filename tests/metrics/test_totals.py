import math

import pytest
import torch

from vlp.metrics.totals import Totals


def test_sums_are_kept_in_double_precision_by_name():
    totals = Totals({"loss": (), "counts": (2,)})
    for _ in range(3):
        totals.update({"loss": torch.tensor(1e-9) + 1, "counts": torch.tensor([1, 2])})
    values = totals.compute()
    assert values["counts"].tolist() == [3, 6]
    assert values["counts"].dtype == torch.float64


def test_the_order_of_adding_changes_no_digit():
    losses = torch.rand(200, dtype=torch.float64)
    forth, back = Totals({"loss": ()}), Totals({"loss": ()})
    for loss in losses:
        forth.update({"loss": loss})
    for loss in losses.flip(0):
        back.update({"loss": loss})
    assert forth.compute()["loss"].item() == back.compute()["loss"].item() == math.fsum(losses)


def test_a_value_that_is_not_finite_stays_visible():
    totals = Totals({"loss": (), "right": ()})
    totals.update({"loss": torch.inf, "right": 1})
    totals.update({"loss": 1.0, "right": 1})
    assert totals.compute()["loss"].isnan()
    assert totals.compute()["right"].item() == 2


def test_collecting_starts_anew():
    totals = Totals({"loss": ()})
    totals.update({"loss": 2.0})
    assert totals.collect()["loss"].item() == 2
    totals.update({"loss": 5.0})
    assert totals.collect()["loss"].item() == 5


def test_undeclared_names_are_refused():
    with pytest.raises(ValueError) as error:
        Totals({"loss": ()}).update({"los": 1.0})
    assert str(error.value) == "totals of ['loss'] were given ['los']"
