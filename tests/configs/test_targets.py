"""Configs are data: what a ``_target_`` may name, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vlp.configs import check_targets, instantiate
from vlp.configs.targets import check_objects, targets

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(file for file in CONF.rglob("*.yaml") if "hydra" not in file.relative_to(CONF).parts)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "pathlib.Path",
        "torch.load",
        "torch.hub.load",
        "torch.save",
        "torchvision.io.read_file",
        "hydra.utils.get_method",
        "pytorch_lightning.LightningModule.load_from_checkpoint",
        "vlp.configs.trust_folder",
        "vlp.configs.targets.subprocess.run",
        "vlp.commands.processes.run_child",
        "vlp.results.forget_cells",
        "vlp.durable.files.remove_leftovers",
        "torchmetrics.multimodal.CLIPScore",
        "torchmetrics.text.BERTScore",
        "vlp.data.sample.Sample.__init__.__globals__",
        "torch.nn.modules.module._global_backward_hooks.clear",
        "vlpx.Thing",
        "eval",
        "",
        3,
        None,
    ],
)
def test_a_name_that_is_not_admitted_is_refused_with_its_key(target: object):
    with pytest.raises(ValueError) as caught:
        check_targets({"trainer": {"callbacks": [{"_target_": "torch.nn.Linear"}, {"_target_": target}]}})
    assert str(caught.value) == f"{target} is not allowed at trainer.callbacks[1]"


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        ("vlp.data.sample.torch.load", "torch.serialization.load"),
        ("vlp.data.sample.dataclass", "dataclasses.dataclass"),
        ("vlp.data.dataset.instantiate", "vlp.configs.building.instantiate"),
        ("vlp.models.export_weights", "vlp.models.checkpoints.vlp.export_weights"),
        ("vlp.models.checkpoints.files.load_plain", "vlp.models.checkpoints.files.load_plain"),
        ("vlp.data.sample.Sample.image", "vlp.data.sample.Sample.image"),
        ("torch.nn.modules.module.warnings.warn", "_warnings.warn"),
        ("torch.nn.functional.gelu", "torch._C._nn.gelu"),
        ("torch.nn.init.normal_", "torch.nn.init.normal_"),
    ],
)
def test_what_another_module_imported_or_is_no_class_is_refused(target: str, reached: str):
    with pytest.raises(ValueError) as caught:
        instantiate({"_target_": target}, _key_="probe")
    assert str(caught.value) == f"{target} is not allowed at probe: it is {reached}"


@pytest.mark.parametrize(
    "target",
    [
        "torch.nn.Linear",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.OneCycleLR",
        "torchmetrics.classification.MulticlassAccuracy",
        "pytorch_lightning.Trainer",
        "pytorch_lightning.callbacks.EarlyStopping",
        "pytorch_lightning.loggers.CSVLogger",
        "vlp.data.sample.Batch",
    ],
)
def test_ours_and_the_classes_that_configs_use_are_admitted(target: str):
    check_targets({"_target_": target})
    check_objects({"_target_": target})


@pytest.mark.parametrize("option", OPTIONS, ids=lambda file: str(file.relative_to(CONF)))
def test_every_target_of_every_option_is_admitted_and_exists(option: Path):
    tree = OmegaConf.to_container(OmegaConf.load(option), resolve=False)
    check_targets(tree)
    check_objects(tree)


def test_targets_are_found_in_lists_and_maps_with_their_keys():
    tree = {"a": {"_target_": "x.y", "b": [{"_target_": "x.z"}]}}
    assert list(targets(tree, "top")) == [("top.a", "x.y"), ("top.a.b[0]", "x.z")]


def test_a_name_that_nearly_exists_gets_a_hint():
    with pytest.raises(ValueError) as caught:
        check_objects({"_target_": "torch.nn.LayerNrom"}, "model")
    assert str(caught.value).startswith("model: torch.nn has no LayerNrom; did you mean LayerNorm")


def test_a_module_of_a_trusted_folder_is_admitted(trusted: Path):
    (trusted / "my_layers.py").write_text("class Layer:\n    def __init__(self, width): self.width = width\n")
    assert instantiate({"_target_": "my_layers.Layer", "width": 3}).width == 3


def test_the_same_module_is_refused_where_its_folder_was_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "loose_layers.py").write_text("class Layer: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"^loose_layers.Layer is not allowed at the top$"):
        instantiate({"_target_": "loose_layers.Layer"})


def test_a_file_in_a_trusted_folder_does_not_admit_the_library_of_its_name(trusted: Path):
    (trusted / "shutil.py").write_text("")
    with pytest.raises(ValueError, match=r"^shutil.rmtree is not allowed at the top$"):
        instantiate({"_target_": "shutil.rmtree", "path": "nowhere"})


def test_a_trusted_module_does_not_lend_its_imports(trusted: Path):
    (trusted / "lender.py").write_text("import os\n")
    with pytest.raises(ValueError, match=r"^lender.os.getcwd is not allowed at the top: it is (posix|nt).getcwd$"):
        instantiate({"_target_": "lender.os.getcwd"})


def test_a_missing_library_of_a_module_is_named(trusted: Path):
    (trusted / "needy.py").write_text("import no_such_library\n")
    with pytest.raises(ValueError) as caught:
        instantiate({"_target_": "needy.Thing"}, _key_="probe")
    assert str(caught.value) == "probe: needy.Thing needs the module no_such_library, which is not installed"
