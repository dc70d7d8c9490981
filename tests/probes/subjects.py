"""Small encoders, data and a checkpoint that the tests of probes share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from tests.data.worlds import HandMade
from tests.models.checkpoints import released
from tests.models.examples import SMALL as PIXEL_MODELS
from tests.models.peers import Sizes
from vlp.configs import read_option, resolve
from vlp.data.dataset import VLDataset
from vlp.data.tokenisation import open_tokenizer
from vlp.models import VLEncoder, build_from_config, load_weights
from vlp.pretraining import Bundle, PretrainingModule
from vlp.probes.base import Probe

TOKENIZER = open_tokenizer(None)
SMALL = {
    "width": 16,
    "heads": 2,
    "feed_forward": 32,
    "layers": 2,
    "text_layers": 1,
    "vision_layers": 1,
    "cross_layers": 2,
    "positions": 24,
    **{name: PIXEL_MODELS[name] for name in ("vilt", "soho", "swin_vlp")},
}
CORRUPTIONS = {
    "mlm": {"_target_": "vlp.data.masking.TextMasking", "probability": 0.4},
    "itm": {"_target_": "vlp.data.masking.PairMismatch", "probability": 0.5},
    "mrc_kl": {"_target_": "vlp.data.masking.RegionMasking", "probability": 0.5},
}
HEADS = {
    "mlm": "vlp.objectives.mlm.MaskedLanguageModelling",
    "itm": "vlp.objectives.itm.ImageTextMatching",
    "mrc_kl": "vlp.objectives.mrc_kl.MaskedRegionClassificationKL",
}


def model_config(name: str) -> dict[str, Any]:
    tree = resolve({"model": read_option("model", name), "size": {**read_option("size", "tiny"), **SMALL}})
    return dict(tree["model"])


def encoder(name: str = "uniter", seed: int = 0, feature_width: int = HandMade.feature_width) -> VLEncoder:
    torch.manual_seed(seed)
    return build_from_config(model_config(name), feature_width, TOKENIZER.vocab_size)


def objective_config(*names: str) -> dict[str, Any]:
    modules = {
        name: {"_target_": HEADS[name], "_partial_": True, "corruption": CORRUPTIONS[name]}
        for name in names or ("mlm", "itm")
    }
    return {"combine": "sum", "parts": {name: {"weight": 1, "module": module} for name, module in modules.items()}}


def pretrained(name: str = "uniter", *objectives: str, seed: int = 0) -> PretrainingModule:
    """Return an encoder with heads, both with random weights large enough to tell inputs apart."""
    config = objective_config(*objectives)
    subject = encoder(name, seed)
    record = {
        "model": model_config(name),
        "feature_width": subject.feature_width,
        "vocab_size": subject.vocab_size,
        "num_classes": HandMade.num_classes,
        "objective": config,
    }
    optimizer = partial(torch.optim.SGD, lr=0.1)
    module = PretrainingModule(subject, Bundle.from_config(config), HandMade.num_classes, optimizer, record=record)
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return module.eval()


def save(module: PretrainingModule, path: Path) -> Path:
    torch.save({"state_dict": module.state_dict(), "vlp": module.record}, path)
    return path


RELEASED = {
    "uniter": (released.uniter, (2,)),
    "lxmert": (released.lxmert, (1, 1, 2)),
    "visualbert": (released.visualbert, (2,)),
    "vilt": (partial(released.vilt, patch=8), (2,)),
}
"""By model, what writes a file of released weights, random ones, and how many layers it has."""


def released_weights(name: str, folder: Path) -> tuple[VLEncoder, Path]:
    """Return a model with released weights, and their file."""
    write, layers = RELEASED[name]
    numbers = {"width": 16, "heads": 2, "feed_forward": 32, "positions": 24}
    if name == "vilt":
        numbers["positions"] = SMALL["vilt"]["positions"]
    path = folder / f"{name}.pt"
    torch.save(write(Sizes(layers, vocab=TOKENIZER.vocab_size, feature_width=HandMade.feature_width, **numbers)), path)
    model = encoder(name)
    load_weights(model, path)
    return model, path


def put(probe: Probe, dataset: VLDataset, batch_size: int = 4) -> Probe:
    """Run a probe as the command does."""
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(probe, probe.loader(dataset, TOKENIZER, batch_size), verbose=False)
    return probe
