"""What interpolations would make of a config is known, and bounded, before they are resolved."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from vlp.configs import check_interpolations, resolve
from vlp.configs.options import read_yaml

TOO_LARGE = "over 1,000,000 entries and characters once what is shared or referred to is copied"


def doubling(levels: int, text: str) -> dict[str, str]:
    """Return texts of which each is the next one twice."""
    return {f"k{level}": f"${{k{level + 1}}}${{k{level + 1}}}" for level in range(levels)} | {f"k{levels}": text}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (doubling(15, "x" * 100), f"k1: {TOO_LARGE}"),
        (doubling(50, ""), "k22: nested, or referred to, deeper than 64 levels"),
        ({"a": ["x"] * 100} | {f"{b}": [f"${{{a}}}"] * 100 for a, b in ("ab", "bc")}, f"c: {TOO_LARGE}"),
        ({"a": {"b": "${d}"}, "d": ["${e}"] * 100, "e": ["${f}"] * 100, "f": ["x"] * 100}, f"d: {TOO_LARGE}"),
        ({"n": "k0", "p": "${${n}}", **doubling(15, "x" * 100)}, f"k1: {TOO_LARGE}"),
        ({"p": "${oc.select:k0}", **doubling(15, "x" * 100)}, f"k1: {TOO_LARGE}"),
        ({"a": "${b}", "b": "${c}", "c": "${a}"}, "a refers to itself: a -> b -> c -> a"),
        ({"a": {"b": {"c": "${a}"}}}, "a refers to itself: a -> a.b -> a.b.c -> a"),
        ({"a": {"b": "${..a}"}}, "a refers to itself: a -> a.b -> a"),
        ({"a": "${oc.env:WANDB_API_KEY}"}, "a would write 'WANDB_API_KEY' into a config, which is saved and logged"),
        ({"n": "HF_TOKEN", "a": "${oc.env:${n},x}"}, "a would write 'HF_TOKEN' into a config"),
        ({"a": "${oc.decode:'[1]'}"}, "a: the resolver oc.decode is refused, since it makes configs out of text"),
        ({"a": "x" * 20_000 + "${b}", "b": 1}, "a: 20,004 characters with references; expected at most 10,000"),
        ({"a": "${" * 300}, "config: no viable alternative at input"),
    ],
    ids=range(14),
)
def test_a_config_that_would_explode_is_refused_by_its_key(tree: dict[str, object], message: str):
    with pytest.raises(ValueError) as error:
        check_interpolations(tree)
    assert str(error.value).startswith(message)
    with pytest.raises(ValueError) as error:
        resolve(tree)
    assert str(error.value).startswith(message)


def test_a_reference_made_of_hundreds_of_references_is_refused():
    with pytest.raises(ValueError, match=r"^(a|config): too many references within each other$"):
        resolve({"a": "${" * 400 + "b" + "}" * 400, "b": "b"})


@pytest.mark.parametrize(
    ("tree", "resolved"),
    [
        ({"a": "${b}", "b": 3}, {"a": 3, "b": 3}),
        ({"a": {"b": 1, "c": "${a.b}"}}, {"a": {"b": 1, "c": 1}}),
        ({"a": {"b": "${..c}", "d": "${.b}"}, "c": "x"}, {"a": {"b": "x", "d": "x"}, "c": "x"}),
        ({"n": "q", "p": {"q": [1, 2]}, "a": "${p.${n}[1]}"}, {"n": "q", "p": {"q": [1, 2]}, "a": 2}),
        ({"a": "${oc.select:nothing,3}"}, {"a": 3}),
        ({"a": "${oc.env:NO_SUCH_VARIABLE,x}-y"}, {"a": "x-y"}),
        ({"a": "${b.d}", "b": "${c}", "c": {"d": 1}}, {"a": 1, "b": {"d": 1}, "c": {"d": 1}}),
        (
            {"l": ["${m}"] * 3, "m": ["x"] * 3},
            {"l": [["x", "x", "x"]] * 3, "m": ["x", "x", "x"]},
        ),
    ],
    ids=range(8),
)
def test_ordinary_references_are_resolved(tree: dict[str, object], resolved: dict[str, object]):
    assert resolve(tree) == resolved


def test_a_chain_of_references_is_followed():
    tree = {f"k{level}": f"${{k{level + 1}}}" for level in range(15)} | {"k15": "x"}
    assert set(resolve(tree).values()) == {"x"}


def test_a_reference_that_leads_nowhere_is_left_to_whoever_resolves_it():
    tree = {"a": "${nothing.there}", "b": "${a.c}"}
    check_interpolations(OmegaConf.create(tree))
    with pytest.raises(ValueError, match=r"^a: Interpolation key 'nothing.there' not found$"):
        resolve(tree)


def test_a_tree_that_is_too_deep_is_refused_by_its_key():
    tree: dict[str, object] = {}
    inner = tree
    for _ in range(5000):
        inner["a"] = inner = {}
    with pytest.raises(ValueError) as error:
        resolve(tree)
    assert str(error.value) == "config, key a.a.a.a.a.a.a.a...: nested deeper than 64 levels"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
            f"FILE, key f: {TOO_LARGE}",
        ),
        ("a: &a [*a]", "FILE, key a[0][0][0][0][0][0][0]...: nested deeper than 64 levels"),
        ("[" * 10_000, "FILE: nested too deeply"),
        ("a: [", "FILE: while parsing a flow node"),
        ("{a: 1, a: 2}", "FILE: while constructing a mapping"),
        ("a: !!python/object/apply:os.getcwd []", "FILE: could not determine a constructor for the tag"),
        ("a: !!binary aGk=", "FILE, key a: found a bytes, expected plain data"),
    ],
    ids=range(7),
)
def test_yaml_that_is_no_plain_tree_of_bounded_size_is_refused(text: str, message: str):
    with pytest.raises(ValueError) as error:
        read_yaml(text, "FILE")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_yaml_is_read_as_hydra_reads_it():
    assert read_yaml("a: 1e-4\nb: [yes, null]\nc: ${a}\n0: x", "FILE") == {
        "a": 1e-4,
        "b": [True, None],
        "c": "${a}",
        0: "x",
    }
