import pytest
import pytorch_lightning as pl
import torch

from tests.data.worlds import HandMade
from vlp.data.loading import PretrainingData
from vlp.data.masking import PairMismatch, TextMasking
from vlp.data.statistics import mean_feature, with_mean_feature
from vlp.data.tokenisation import open_tokenizer
from vlp.metrics import normalized_mutual_information
from vlp.models import build
from vlp.monitoring import HeldOutCurves
from vlp.objectives.itm import ImageTextMatching
from vlp.objectives.mlm import MaskedLanguageModelling
from vlp.pretraining import Bundle, PretrainingModule


def validated(model="uniter", num_samples=256):
    torch.manual_seed(0)
    encoder = build(model, feature_width=4, width=16, layers=2, feed_forward=32, heads=2, dropout=0.0)
    for parameter in encoder.parameters():  # large weights mix the modalities, which new ones do not
        torch.nn.init.normal_(parameter)
    parts = {
        "mlm": lambda encoder, num_classes: MaskedLanguageModelling(encoder, TextMasking(0.5)),
        "itm": lambda encoder, num_classes: ImageTextMatching(encoder, PairMismatch(0.0)),
    }
    if model == "bert":
        del parts["itm"]
    module = PretrainingModule(encoder, Bundle(parts, dict.fromkeys(parts, 1.0)), 3, torch.optim.AdamW)
    data = PretrainingData(HandMade(12), HandMade(12), open_tokenizer(), module.corruptions, {}, batch_size=4)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = pl.Trainer(callbacks=[HeldOutCurves(num_samples)], use_distributed_sampler=False, **quiet)
    (logged,) = trainer.validate(module, data, verbose=False)
    return module, data, logged


def test_the_blind_curve_is_the_word_loss_with_the_mean_feature_everywhere():
    module, data, logged = validated()
    mean = mean_feature(data.val_pairs.dataset)
    objective = module.objectives["mlm"]
    with torch.no_grad():
        for batch in data.val_dataloader():
            batch.inputs.features = with_mean_feature(batch.inputs.features, batch.inputs.region_mask, mean)
            objective.update(module.eval().encoder(batch.inputs), batch, module.encoder)
    assert logged["val/mlm_mean_image"] == pytest.approx(objective.compute()[""].item(), rel=1e-5)
    assert logged["val/mlm_mean_image"] != pytest.approx(logged["val/mlm"], rel=1e-5)


def test_the_fusion_curve_is_the_nmi_of_content_tokens_at_each_layer():
    module, data, logged = validated()
    states = []
    with torch.no_grad():
        for batch in data.val_dataloader():
            encoding = module.eval().encoder(batch.inputs)
            joint = torch.cat([encoding.text, encoding.vision], 1)
            ids, tokenizer = batch.inputs.input_ids, open_tokenizer()
            content = batch.inputs.text_mask & (ids != tokenizer.cls_id) & (ids != tokenizer.sep_id)
            mask = torch.cat([content, batch.inputs.region_mask], 1)
            is_vision = torch.arange(joint.shape[1]).expand_as(mask) >= ids.shape[1]
            states.append(normalized_mutual_information(joint, is_vision, mask))
    assert logged["val/nmi_layer_2"] < 0.9
    assert logged["val/nmi_layer_2"] == pytest.approx(torch.cat(states).nanmean().item(), abs=1e-6)
    assert {name for name in logged if "nmi" in name} == {f"val/nmi_layer_{k}" for k in range(3)}


def test_only_the_first_pairs_are_looked_at():
    assert validated(num_samples=4)[2]["val/nmi_layer_2"] != validated(num_samples=12)[2]["val/nmi_layer_2"]


def test_a_text_only_model_has_neither_curve():
    assert not [name for name in validated("bert")[2] if "nmi" in name or "mean_image" in name]
