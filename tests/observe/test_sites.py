import pytest

from vlp.models.observation import CaptureError
from vlp.observe import Site, matching, select_layers


@pytest.mark.parametrize(
    ("spec", "layers"),
    [
        ("all", (0, 1, 2, 3)),
        ("last 2", (2, 3)),
        ("last 4", (0, 1, 2, 3)),
        (0, (0,)),
        (-1, (3,)),
        ([2, 0], (0, 2)),
        ([-1, 3, 1], (1, 3)),
        ((-4,), (0,)),
    ],
)
def test_what_users_write_about_four_layers(spec, layers):
    assert select_layers(spec, 4) == layers


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (4, "layers=4 is out of range: the model has 4 layers, -4 to 3"),
        ([0, -5], "layers=-5 is out of range: the model has 4 layers, -4 to 3"),
        ("last 5", "layers='last 5' is out of range: the model has 4 layers, last 1 to last 4"),
        ("last 0", "layers='last 0' is out of range: the model has 4 layers, last 1 to last 4"),
        ("first 2", "layers='first 2' is not understood: expected 'all', 'last N', a layer or a list of layers"),
        ("last", "layers='last' is not understood: expected 'all', 'last N', a layer or a list of layers"),
        ([], "layers=[] selects no layer"),
        ([True], "layers=True is out of range: the model has 4 layers, -4 to 3"),
    ],
)
def test_layers_that_do_not_exist_are_refused_by_value(spec, message):
    with pytest.raises(ValueError) as error:
        select_layers(spec, 4)
    assert str(error.value) == message


def test_sites_are_chosen_in_order():
    sites = [Site("text", 0, "text", "text"), Site("text", 0, "text"), Site("text", 1, "text")]
    assert matching(sites, lambda site: not site.is_attention) == (sites[1], sites[2])


def test_a_condition_that_matches_nothing_is_an_error():
    with pytest.raises(CaptureError) as error:
        matching([Site("text", 0, "text")], lambda site: site.is_attention)
    assert str(error.value) == "no site matches; the model has text.0.text"
