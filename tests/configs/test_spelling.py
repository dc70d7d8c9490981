import pytest

from vlp.configs.spelling import did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("unitr", ["uniter", "uniter_ctrl", "vilbert"], "; did you mean uniter?"),
        ("unitr_ctrl", ["uniter", "uniter_ctrl", "vilbert"], "; did you mean uniter_ctrl?"),
        ("in_feature", ["in_features", "out_features"], "; did you mean in_features or out_features?"),
        ("swin", ["bert", "vilt"], "; there is bert, vilt"),
        ("x", [str(number) for number in range(10, 42)], f"; there is {', '.join(map(str, range(10, 40)))} and 2 more"),
        ("x", [], ""),
    ],
)
def test_names_nearly_as_near_as_the_nearest_are_offered(word, known, hint):
    assert did_you_mean(word, known) == hint
