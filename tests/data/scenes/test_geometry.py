import pytest

from vlp.data.scenes.geometry import (
    Placement,
    intersection,
    is_above,
    is_behind,
    is_below,
    is_in_front_of,
    is_left_of,
    is_right_of,
)


def box(x: float, y: float, depth: int = 0, side: float = 0.2) -> Placement:
    return Placement(x, y, x + side, y + side, depth)


def test_directions_by_hand():
    assert is_left_of(box(0.1, 0.4), box(0.5, 0.4))
    assert is_right_of(box(0.5, 0.4), box(0.1, 0.4))
    assert is_above(box(0.4, 0.1), box(0.4, 0.5))
    assert is_below(box(0.4, 0.5), box(0.4, 0.1))
    assert not is_left_of(box(0.5, 0.4), box(0.1, 0.4))


@pytest.mark.parametrize(
    "other", [box(0.45, 0.4), box(0.6, 0.58), box(0.98, 0.4)], ids=["too near", "as far down", "too far"]
)
def test_states_no_direction_that_is_not_clear(other):
    assert not is_left_of(box(0.4, 0.4), other)


def test_what_is_drawn_later_is_in_front_where_boxes_overlap():
    lower, upper, apart = box(0.4, 0.4, 0), box(0.5, 0.4, 1), box(0.7, 0.7, 2)
    assert intersection(lower, upper) == pytest.approx(0.02)
    assert is_in_front_of(upper, lower)
    assert is_behind(lower, upper)
    assert not is_in_front_of(lower, upper)
    assert not is_in_front_of(apart, lower)
