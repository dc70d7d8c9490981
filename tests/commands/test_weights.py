"""``weights=``: what each form leads to."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import hydra
import pytest

from tests.commands.conftest import SMALLEST
from vlp.commands.plans import Plan, Weights, plain
from vlp.commands.probe import build_subjects
from vlp.commands.weights import find_weights, is_trained, recipe_overrides
from vlp.data.dataset import build_dataset
from vlp.models import build_from_config, export_weights
from vlp.probes.activations import encoder_digest


def config(*overrides: str) -> dict[str, Any]:
    return plain(hydra.compose("probe", list(overrides)))


@pytest.fixture(autouse=True)
def composing(in_temporary_folder: Path):
    with hydra.initialize_config_module("vlp.conf", version_base="1.3"):
        yield


def test_random_weights_come_from_nowhere():
    assert find_weights(config("weights=random"), "") == Weights("random", "random", None, None)


def test_a_file_is_known_by_its_content(in_temporary_folder: Path):
    Path("my model.ckpt").write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    found = find_weights(config("weights='my model.ckpt'"), "")
    assert found == Weights(f"my_model-{sha256[:8]}", sha256, str(in_temporary_folder / "my model.ckpt"))


def test_a_map_gives_each_model_its_own():
    Path("b.pth").write_bytes(b"")
    chosen = "weights={uniter:random,lxmert:b.pth}"
    assert find_weights(config(chosen), "").path is None
    assert Path(find_weights(config(chosen, "model=lxmert"), "").path or "").name == "b.pth"


def test_a_path_can_hold_the_name_of_the_model():
    Path("lxmert.pt").write_bytes(b"")
    assert find_weights(config("weights=${model.name}.pt", "model=lxmert"), "").name.startswith("lxmert-")


def test_auto_is_the_scenes_recipe():
    automatic, named = (find_weights(config(f"weights={form}"), "") for form in ("auto", "recipe:scenes"))
    assert automatic == named
    assert automatic.name == "scenes"


def test_a_recipe_leads_to_the_checkpoint_that_train_would_write(in_temporary_folder: Path):
    found = find_weights(
        config("weights=recipe:scenes", "model=lxmert", "pretrain_seed=3", "seed=7"), "python probe.py"
    )
    assert found.training is not None
    trained = found.training.config
    assert (trained["model"]["name"], trained["seed"], trained["entry"]) == ("lxmert", 3, "train")
    assert found.path == str(
        in_temporary_folder / "outputs" / "train" / found.content[:12] / "checkpoints" / "last.ckpt"
    )
    assert found.training.run_dir == str(Path(found.path).parents[1])


def test_the_seed_of_the_probe_does_not_ask_for_another_training():
    first, second = (find_weights(config("weights=auto", f"seed={seed}"), "") for seed in (0, 1))
    assert first.content == second.content
    assert find_weights(config("weights=auto", "pretrain_seed=1"), "").content != first.content


def test_a_recipe_of_another_visual_parser_is_refused_before_it_is_trained():
    with pytest.raises(ValueError) as caught:
        find_weights(config("weights=auto", "model=swin_vlp", "visual_parser=patch"), "")
    assert str(caught.value) == (
        "weights=recipe:scenes trains a model=swin_vlp whose model.embeddings.parser._target_ is "
        "vlp.models.parsers.SwinParser, here it is vlp.models.parsers.PatchParser: "
        "leave that as the recipe has it, or train one (train.py) and give weights=PATH"
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("size.layers=3", "model.stack.layers is 4, here it is 3"),
        ("size.swin_vlp.image_size=128", "model.embeddings.parser.image_size is 96, here it is 128"),
        ("size.swin_vlp.options.depths=[1,1,4]", "depths is [1, 1, 2], here it is [1, 1, 4]"),
    ],
)
def test_a_recipe_of_another_size_is_refused_before_it_is_trained(change: str, found: str):
    with pytest.raises(ValueError, match=re.escape(found)):
        find_weights(config("weights=auto", "model=swin_vlp", change), "")


@pytest.mark.parametrize("model", ["swin_vlp", "lxmert"])
def test_the_recipe_of_a_model_that_drops_more_trains_the_model_that_is_asked_for(model: str):
    assert find_weights(config(f"model={model}", "size.dropout=0.3"), "").training is not None


def test_a_row_that_names_what_the_recipe_trains_anyway_is_the_same_training():
    row = "experiment=visual_parsing/table5", "probe=imf", "row=mfr", "weights=recipe:visual_parsing/ablation@mfr"
    scenes, table = find_weights(config("model=swin_vlp"), ""), find_weights(config(*row), "")
    assert (table.content, table.path) == (scenes.content, scenes.path)


def test_what_hydra_would_misread_is_quoted():
    cell = {
        "model": {"name": "uniter"},
        "size": {"name": "tiny"},
        "dataset": {"name": "nlvr", "num_workers": 2, "root": "/my data/it's=here"},
        "pretrain_seed": 0,
    }
    assert recipe_overrides("ablation/pretrain", "vilbert_ctrl", cell) == [
        "experiment=ablation/pretrain",
        "model=uniter",
        "size=tiny",
        "dataset=nlvr",
        "seed=0",
        "dataset.num_workers=2",
        "dataset.root='/my data/it\\'s=here'",
        "row=vilbert_ctrl",
    ]


def test_a_probe_experiment_is_no_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from vlp.commands import weights

    monkeypatch.setattr(weights, "read_option", lambda group, name: {"entry": "probe"})
    with pytest.raises(ValueError) as caught:
        find_weights(config("weights=recipe:value/table1"), "")
    assert str(caught.value) == (
        "weights=recipe:value/table1: experiment value/table1 is for probe.py, a recipe is for train.py"
    )


def training(folder: Path, content: str = "c") -> Plan:
    return Plan("train", {}, content, str(folder), str(folder), "")


def test_a_training_counts_when_it_ran_to_its_end(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    assert not is_trained(training(tmp_path))
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    for record, counts in [
        ({"finished": False, "content_hash": "c"}, False),
        ({"finished": True, "content_hash": "other"}, False),
        ({"finished": True, "content_hash": "c"}, True),
    ]:
        (tmp_path / "run.json").write_text(json.dumps(record))
        assert is_trained(training(tmp_path)) is counts


def test_a_plan_survives_being_written_down(tmp_path: Path):
    weights = Weights("scenes", "c", "last.ckpt", training(tmp_path))
    plan = Plan(
        "probe", {"lr": 1e-4, "none": None}, "d", "run", "outputs", "probe.py", ["a=b"], True, weights, ["mine"]
    )
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan


def test_a_model_and_its_control_do_as_the_weights_were_trained(in_temporary_folder: Path):
    chosen = config("model=vl_bert_ctrl", "probe=nmi", *SMALLEST)
    dataset = build_dataset(chosen["dataset"])
    random = build_subjects(chosen, Weights(), dataset)
    for trained in (False, True):
        model = {**chosen["model"], "released_behaviour": trained}
        encoder = build_from_config(model, dataset.feature_width, random.tokenizer.vocab_size)
        export_weights(encoder, "trained.safetensors", {"model": model})
        subjects = build_subjects(chosen, Weights("mine", "", "trained.safetensors"), dataset)
        assert subjects.encoder.released_behaviour is subjects.control.released_behaviour is trained
        is_kept_apart = encoder_digest(subjects.control) != encoder_digest(random.control)
        assert is_kept_apart is trained  # the same random weights that do something else
