"""Words from files in messages: short, and nothing in them acts on a terminal."""

import pytest

from vlp.configs.showing import LONGEST, printable, shown, spelt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("a", "'a'"),
        ([1, [2]], "[1, [2]]"),
        ("\x1b[31m", r"'\x1b[31m'"),
        ("\ud800", r"'\ud800'"),
        ("\u202e", r"'\u202e'"),
        ([[[[[5]]]]], "[[[[...]]]]"),
    ],
)
def test_a_value_is_shown_as_python_writes_it(value, text):
    assert shown(value) == text


@pytest.mark.parametrize("value", ["x" * 10**7, ["x" * 100] * 10**5, {str(key): key for key in range(10**5)}])
def test_a_large_value_is_cut(value):
    assert len(shown(value)) <= LONGEST
    assert "..." in shown(value)


@pytest.mark.parametrize(("name", "text"), [("a.b", "a.b"), ("naïve", "naïve"), ("w\x00t\xa0", r"'w\x00t\xa0'")])
def test_a_name_that_does_not_print_is_spelt_out(name, text):
    assert spelt(name) == text


def test_what_does_not_print_is_spelt_out():
    assert printable("a\nb\x1b[2J\x07\u202e\ud800é") == r"a\nb\x1b[2J\x07\u202e\ud800é"
    assert printable("plain, naïve and 漢") == "plain, naïve and 漢"
    assert printable("3\u00a0bits\n") == "3\u00a0bits\\n"
