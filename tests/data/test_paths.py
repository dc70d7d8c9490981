import pytest

from vlp.data.paths import LONGEST_NAME, plain_name


@pytest.mark.parametrize("name", ["7-0", "COCO_val2014_000000391895", "a b", "été", "...", "-x", "x" * LONGEST_NAME])
def test_a_plain_name_is_returned_as_it_is(name):
    assert plain_name(name, "here") == name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", "found ''"),
        (".", "found '.'"),
        ("..", "found '..'"),
        ("../7", "found '../7'"),
        ("/etc/passwd", "found '/etc/passwd'"),
        ("a\\b", r"found 'a\\b'"),
        ("a\0b", r"found 'a\x00b'"),
        ("a\nb", r"found 'a\nb'"),
        ("a\x1b[31m", r"found 'a\x1b[31m'"),
        ("a\u202eb", r"found 'a\u202eb'"),
        ("a\ud800b", r"found 'a\ud800b'"),
        ("x" * (LONGEST_NAME + 1), "found a name of 201 bytes"),
        ("é" * 101, "found a name of 202 bytes"),
    ],
)
def test_what_could_lead_elsewhere_is_refused(name, found):
    with pytest.raises(ValueError) as error:
        plain_name(name, "FILE, line 3: field id")
    assert str(error.value).startswith(f"FILE, line 3: field id: {found}")
    assert "expected" in str(error.value)
    assert str(error.value).isprintable()
