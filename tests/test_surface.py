"""The public surface, as a snapshot: a change to it is a change to this file."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from vlp.configs import option_names
from vlp.results import COLUMNS

CONF = Path(__file__).parents[1] / "conf"

OPTIONS = {
    "cache": "disk off",
    "callbacks": "default none",
    "combination": "swin_vlp_tiny_scenes",
    "dataset": "coco coco_vg nlvr scenes visual_genome",
    "debug": "one_batch one_percent overfit profiler",
    "experiment": "scenes",
    "experiment/value": "table3",
    "experiment/visual_parsing": "ablation figure2 figure3 figure4 figure5 pretrain pretrain_224 table5",
    "hydra/help": "probe train",
    "hydra/sweeper": "vlp",
    "logger": "csv tensorboard wandb",
    "model": (
        "bert lxmert lxmert_ctrl soho swin_vlp uniter uniter_ctrl vilbert vilbert_ctrl vilt visualbert visualbert_ctrl "
        "vl_bert vl_bert_ctrl"
    ),
    "objective": (
        "bert lxmert lxmert_ctrl scenes_bert scenes_lxmert scenes_lxmert_ctrl scenes_soho scenes_swin_vlp "
        "scenes_uniter scenes_uniter_ctrl scenes_vilbert scenes_vilbert_ctrl scenes_vilt scenes_visualbert "
        "scenes_visualbert_ctrl scenes_vl_bert scenes_vl_bert_ctrl soho swin_vlp uniter uniter_ctrl vilbert "
        "vilbert_ctrl vilt visualbert visualbert_ctrl vl_bert vl_bert_ctrl"
    ),
    "objective/part": "itm mfr mlm mrc_kl mvm vla",
    "optimizer": "adamw prober",
    "paths": "default",
    "probe": "imf masks nmi pretraining vcc vcd vrc vri",
    "prober": "attention embedding visual_features",
    "prober/fitting": "default",
    "row": "mfr no_mfr r101 r50 random_mfr",
    "size": "base small tiny",
    "trainer": "auto cpu ddp fsdp gpu",
    "visual_parser": "patch resnet101 resnet50 swin",
}

NAMES = {
    "vlp.data": "AnnotatedObject Batch Parse Phrase Regions Relation Sample VLDataset open_dataset",
    "vlp.metrics": (
        "Estimate InterModalityFlow NormalizedMutualInformation OptimalTransportDistance SampleMean SampleStatistic "
        "inter_modality_flow normalized_mutual_information optimal_transport_distance"
    ),
    "vlp.models": "Encoding LoadReport VLEncoder build build_from_config export_weights load_weights read_record",
    "vlp.observe": "CaptureError Observer Reducing Site Trace matching record select_layers",
    "vlp.configs": (
        "check_interpolations check_targets did_you_mean digest dotted instantiate option_names plugin_packages "
        "read_option resolve trust_folder trusted_folders user_folder"
    ),
}


def test_groups_and_options_are_these():
    own = {"local"}  # a user's, ignored by git
    groups = {path.parent.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml")} - {"."}
    assert {group: " ".join(name for name in option_names(group) if name not in own) for group in groups} == OPTIONS


def test_entry_configs_are_these():
    assert sorted(path.name for path in CONF.glob("*.yaml")) == ["probe.yaml", "train.yaml"]


def test_every_option_says_in_its_first_lines_what_it_is():
    silent = [
        str(path.relative_to(CONF))
        for path in CONF.rglob("*.yaml")
        if not any(line.startswith("# ") and "@package" not in line for line in path.read_text().splitlines()[:2])
    ]
    assert silent == []


@pytest.mark.parametrize("group", ["model", "size", "dataset"])
def test_a_name_in_a_config_is_its_option(group: str):
    from vlp.configs import read_option

    assert {name: read_option(group, name)["name"] for name in option_names(group)} == {
        name: name for name in option_names(group)
    }


def test_the_columns_of_results_are_these():
    assert " ".join(COLUMNS) == (
        "model size weights dataset probe prober condition metric stage query key layer head label parameter "
        "value ci_low ci_high n seed prober_seed"
    )


@pytest.mark.parametrize("module", NAMES)
def test_public_names_are_these(module: str):
    assert " ".join(sorted(importlib.import_module(module).__all__, key=str.lower)) == " ".join(
        sorted(NAMES[module].split(), key=str.lower)
    )
