"""Plain trees: what they may hold, and how large and deep they may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlp.configs.trees import DEEPEST, LARGEST, check_tree, dotted


def nested(levels: int) -> list[object]:
    tree: list[object] = []
    for _ in range(levels - 1):
        tree = [tree]
    return tree


def shared(levels: int, copies: int = 10) -> list[object]:
    """Return a tree of ``copies ** levels`` leaves that takes a few kilobytes."""
    tree: list[object] = ["x"]
    for _ in range(levels):
        tree = [tree] * copies
    return tree


def itself() -> dict[str, object]:
    tree: dict[str, object] = {}
    tree["a"] = tree
    return tree


@pytest.mark.parametrize(
    "tree", [None, 1, "é", {"a": [1.5, True, None, ("b", {"c": "d"})], 3: "x"}, nested(DEEPEST), shared(4)]
)
def test_plain_trees_pass(tree: object):
    check_tree(tree, "FILE")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (nested(DEEPEST + 1), "FILE, key [0][0][0][0][0][0][0][0]...: nested deeper than 64 levels"),
        (nested(100_000), "FILE, key [0][0][0][0][0][0][0][0]...: nested deeper than 64 levels"),
        (itself(), "FILE, key a.a.a.a.a.a.a.a...: nested deeper than 64 levels"),
        (shared(60), "over 1,000,000 entries and characters"),
        ({"a": "x" * LARGEST}, "FILE, key a: over 1,000,000 entries and characters"),
        ({"a": [1, {"b": {2}}]}, "FILE, key a[1].b: found a set, expected plain data"),
        ({"a": Path()}, "FILE, key a: found a PosixPath, expected plain data"),
        ({"a": {(1, 2): 3}}, "FILE, key a: found the key (1, 2), expected a text or number"),
        ({"a": "\ud800"}, r"FILE, key a: half a character in '\ud800', expected UTF-8"),
        ({"\udfff": 1}, r"FILE: half a character in '\udfff', expected UTF-8"),
        ({"a\x1b[31m": object()}, r"FILE, key a\x1b[31m: found a object, expected plain data"),
    ],
    ids=range(11),
)
def test_what_is_not_plain_or_not_bounded_is_named_by_its_key(tree: object, message: str):
    with pytest.raises(ValueError) as error:
        check_tree(tree, "FILE")
    assert message in str(error.value)
    assert str(error.value).startswith("FILE")


def test_entries_of_maps_within_each_other_have_their_whole_names():
    tree = {"a": {"b": 1, "c.d": 2.5, "e": None}, "a.f": 3, "g": {}}
    assert dotted(tree, "rates", float) == {"a.b": 1, "a.c.d": 2.5, "a.e": None, "a.f": 3}
    assert dotted({"a": {"b": "x"}}, "files", str) == dotted({"a.b": "x"}, "files", str) == {"a.b": "x"}
    assert dotted(None, "rates", float) == {}


@pytest.mark.parametrize(
    ("tree", "kind", "message"),
    [
        ({"a": {"b": [1]}}, float, "rates.a.b=[1]: expected a number, null, or a map to such"),
        ({"a": True}, float, "rates.a=True: expected a number, null, or a map to such"),
        ({"a": "1e-5"}, float, "rates.a='1e-5': expected a number, null, or a map to such"),
        ({"a": 1}, str, "rates.a=1: expected a text, null, or a map to such"),
        ("x", str, "rates='x': expected a map from the name of a part to a text, or null"),
        (
            {"a.b": "x", "a": {"b": "y"}},
            str,
            "rates: a.b is there twice, as 'x' and 'y'; write 'rates={a.b:VALUE}' alone",
        ),
    ],
)
def test_other_entries_and_names_that_are_there_twice_are_refused(tree: object, kind: type, message: str):
    with pytest.raises(ValueError) as error:
        dotted(tree, "rates", kind)
    assert str(error.value) == message
