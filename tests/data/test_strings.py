import pickle

import pytest

from vlp.data.strings import Strings

TEXTS = ["", "a", "ü 😀", "", "two\nlines ", "x" * 1000, ""]


def test_strings_come_back_as_they_were():
    strings = Strings.of(TEXTS)
    assert [strings[number] for number in range(len(strings))] == TEXTS
    again = pickle.loads(pickle.dumps(strings))
    assert list(again) == TEXTS
    assert len(Strings.of([])) == 0


@pytest.mark.parametrize("number", [-1, 7])
def test_a_number_outside_is_refused(number):
    with pytest.raises(IndexError) as error:
        Strings.of(TEXTS)[number]
    assert str(error.value) == f"string {number}: expected a number from 0 to 6"
