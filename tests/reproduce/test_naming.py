"""What names stand for, and where artefacts go."""

from pathlib import Path

import pytest

from vlp.published import ARTEFACTS, artefact_names
from vlp.reproduce.naming import expand, request


def test_an_artefact_goes_into_the_folder_itself():
    assert request(["value/table3"]).folders == {"value/table3": Path("outputs/reproduce/value/table3")}
    asked = request(["value/table3"], Path("mine"))
    assert (asked.folders, asked.out, asked.left_out) == ({"value/table3": Path("mine")}, Path("mine"), ())


def test_of_a_paper_each_has_a_folder_below_and_the_rest_is_told():
    asked = request(["value"], Path("mine"))
    assert asked.folders["value/table3"] == Path("mine/table3")
    assert set(asked.left_out) == set(artefact_names("value")) - set(ARTEFACTS)
    assert request(["value"]).folders["value/table3"] == Path("outputs/reproduce/value/table3")


@pytest.mark.parametrize("names", [["all"], ["value/table3", "value"]])
def test_of_all_and_of_several_each_has_a_folder_of_its_name(names: list[str]):
    assert request(names, Path("mine")).folders["value/table3"] == Path("mine/value/table3")
    assert request(names).folders["value/table3"] == Path("outputs/reproduce/value/table3")


def test_a_name_is_told_from_its_neighbours():
    with pytest.raises(ValueError) as caught:
        expand("value/tabel3")
    assert str(caught.value).startswith("value/tabel3 is no published table or figure; did you mean value/table3")


def test_an_artefact_without_an_experiment_is_refused_by_name():
    with pytest.raises(ValueError) as caught:
        expand("ablation/ttests")
    assert str(caught.value).startswith(
        "ablation/ttests cannot be measured yet: no experiment yet; there is value/table3"
    )
