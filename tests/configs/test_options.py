"""Options are found over the whole search path and come as plain dicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlp.configs import did_you_mean, digest, option_names, read_option, resolve


def test_options_are_the_files_of_the_group():
    group = Path(__file__).parents[2] / "conf" / "size"
    assert option_names("size") == sorted(file.stem for file in group.glob("*.yaml"))


def test_a_group_that_does_not_exist_has_no_options():
    assert option_names("no_such_group") == []


def test_interpolations_are_left_as_they_are():
    assert read_option("model", "uniter")["embeddings"]["width"] == "${size.width}"


def test_an_option_of_a_folder_in_the_group_is_read():
    assert read_option("objective", "part/mlm")["_target_"] == "vlp.objectives.mlm.MaskedLanguageModelling"


def test_numbers_in_exponent_form_are_numbers(trusted: Path):
    (trusted / "optimizer").mkdir()
    (trusted / "optimizer" / "quick.yaml").write_text("lr: 1e-3\n")
    assert read_option("optimizer", "quick") == {"lr": 0.001}
    assert "quick" in option_names("optimizer")


def test_an_option_that_builds_on_another_has_the_keys_of_both(trusted: Path):
    (trusted / "size").mkdir()
    (trusted / "size" / "flat.yaml").write_text("defaults: [tiny, _self_]\nname: flat\nlayers: 1\n")
    assert read_option("size", "flat") == {**read_option("size", "tiny"), "name": "flat", "layers": 1}


def test_an_option_of_another_group_stands_where_it_is_referred_to():
    parser = read_option("model", "swin_vlp")["embeddings"]["parser"]
    assert parser == read_option("visual_parser", "swin")
    assert parser["_target_"] == "vlp.models.parsers.SwinParser"


@pytest.mark.parametrize("name", option_names("visual_parser"))
def test_another_option_can_be_chosen_to_stand_there(name: str):
    parser = read_option("model", "swin_vlp", visual_parser=name)["embeddings"]["parser"]
    assert parser == read_option("visual_parser", name)


def test_where_nothing_of_a_group_stands_nothing_can_be_chosen():
    with pytest.raises(ValueError) as caught:
        read_option("model", "uniter", visual_parser="swin")
    assert str(caught.value) == "model=uniter has no visual_parser to choose"


def test_an_option_of_ours_is_not_replaced_by_a_folder_given(trusted: Path):
    (trusted / "size").mkdir()
    (trusted / "size" / "tiny.yaml").write_text("width: 7\n")
    assert read_option("size", "tiny")["width"] != 7


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(ValueError) as caught:
        read_option("size", "tinny")
    assert str(caught.value) == "size=tinny is not an option; did you mean tiny?"


def test_where_nothing_is_near_what_there_is_is_listed():
    assert did_you_mean("zzz", ["base", "tiny"]) == "; there is base, tiny"
    assert did_you_mean("zzz", []) == ""


def test_interpolations_are_filled_in_from_the_tree():
    assert resolve({"size": {"width": 8}, "model": {"width": "${size.width}"}})["model"] == {"width": 8}


def test_a_digest_depends_on_content_and_not_on_order():
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})


def test_a_digest_is_sha256_of_canonical_json():
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # printf '{}' | sha256sum
