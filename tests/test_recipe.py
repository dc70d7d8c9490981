"""The recipe behind ``weights=auto``, whole: tiny models learn to use the image, and probes see that they did."""

import subprocess
import sys
from pathlib import Path

import pytest

from vlp.results import read_results

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MODELS = ("uniter", "visualbert", "lxmert")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    command = [sys.executable, "probe.py", "-m", "probe=nmi,pretraining", f"model={','.join(MODELS)}"]
    subprocess.run([*command, f"paths.outputs={folder}", f"hydra.sweep.dir={folder}/sweep"], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def find(sweep):
    records = read_results(sweep / "sweep" / "results.csv")

    def one(**columns):
        wanted = {name: str(value) for name, value in columns.items()}
        found = [r for r in records if all(str(getattr(r, name)) == value for name, value in wanted.items())]
        assert len(found) == 1, (columns, found)
        return found[0]

    return one


def test_uniter_tells_matched_from_swapped_pairs_and_random_weights_do_not(find):
    itm = {"model": "uniter", "metric": "accuracy", "label": "itm"}
    trained, untrained = (find(condition=condition, **itm) for condition in ("model", "random_weights"))
    assert trained.value >= 0.80
    assert trained.ci_low > untrained.ci_high


def test_a_masked_word_costs_uniter_half_a_bit_more_without_the_image(find):
    words = {"model": "uniter", "metric": "bits", "label": "masked_words", "parameter": "image=mean-own"}
    trained, untrained = (find(condition=condition, **words) for condition in ("model", "random_weights"))
    assert trained.value >= 0.5
    assert trained.ci_low > untrained.ci_high


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_text_and_vision_lie_closer_in_uniter_than_with_random_weights(layer, find):
    nmi = {"model": "uniter", "metric": "nmi", "layer": layer}
    trained, untrained = (find(condition=condition, **nmi) for condition in ("model", "random_weights"))
    assert trained.ci_high < untrained.ci_low


@pytest.mark.parametrize("model", MODELS[1:])
def test_the_same_recipe_takes_other_models_past_the_transition(model, find):
    assert find(model=model, condition="model", metric="accuracy", label="itm").value > 0.75


def test_the_report_answers_what_was_asked_and_draws_the_curves(sweep):
    command = [sys.executable, "-m", "vlp.report", str(sweep / "train"), str(sweep / "sweep"), "--out", str(sweep)]
    told = subprocess.run([*command, "--strict"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "Does it tell matched from swapped pairs?" in told
    page = (sweep / "report.html").read_text(encoding="utf-8")
    titles = ("Matched or swapped? (held-out pairs)", "Masked words (held-out)", "Text and vision apart? (held-out)")
    assert all(page.count(title) >= len(MODELS) for title in titles)
