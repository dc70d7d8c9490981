"""The probe of hidden cells: what it counts, what it draws, and whom it refuses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from tests.data.worlds import HandMade
from tests.probes.subjects import TOKENIZER, encoder, put
from vlp.data.loading import probe_loader
from vlp.probes.masks import GAP, HIDDEN, PIVOT, SIDE, TOP, TRIES, MasksProbe, covered, image_files
from vlp.results import Row


class Striped(HandMade):
    """Images that differ from place to place."""

    def __getitem__(self, index: int):
        noise = np.random.default_rng(index).integers(0, 255, (10, 10, 3), dtype=np.uint8)
        return replace(super().__getitem__(index), read_image=lambda: Image.fromarray(noise))


def probe(**options: object) -> MasksProbe:
    return MasksProbe(encoder("swin_vlp", seed=0), encoder("swin_vlp", seed=1), **options)


def value(rows: list[Row], metric: str, masking: str, condition: str = "model") -> float:
    (row,) = (r for r in rows if (r.condition, r.metric, r.parameter) == (condition, metric, f"masking={masking}"))
    return row.value


def test_rows_are_means_over_the_cells_hidden_with_the_pivot():
    asked = probe(k=2)
    rows = put(asked, Striped(size=4)).rows()
    batch = next(iter(probe_loader(Striped(size=4), TOKENIZER, 4, pixel_input=asked.encoder.pixel_input)))
    alike, near = {"parsed": [], "random": []}, {"parsed": [], "random": []}
    for pixels, sample in zip(batch.inputs.pixels, batch.samples, strict=True):
        masks = asked.masks(asked.parser, pixels[None], sample)
        features = asked.parser(pixels[None])[0]
        (place,) = masks.pivot[0].nonzero().tolist()
        for name, mask in (("parsed", masks.parsed[0]), ("random", masks.random[0])):
            others = [other for other in mask.nonzero().tolist() if other != place]
            values = [functional.cosine_similarity(features[tuple(o)], features[tuple(place)], dim=0) for o in others]
            alike[name].append(torch.stack(values).mean().item())
            near[name].append(len(others) / 3)  # on a grid of two by two all three others are neighbours
    assert near["parsed"] == near["random"] == [1 / 3] * 4
    for name in ("parsed", "random"):
        assert value(rows, "cosine", name) == pytest.approx(np.mean(alike[name]), abs=1e-5)
        assert value(rows, "share", name) == pytest.approx(np.mean(near[name]), abs=1e-6)
    difference = np.mean(alike["parsed"]) - np.mean(alike["random"])
    assert value(rows, "cosine", "parsed-random") == pytest.approx(difference, abs=1e-5)


def test_images_of_the_data_and_of_a_folder_are_drawn_beside_their_masks(tmp_path: Path):
    (tmp_path / "images" / "below").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (30, 20), (250, 250, 250)).save(tmp_path / "images" / "below" / f"{number}.png")
    asked = probe(k=2, num_images=2, folder=tmp_path / "images")
    put(asked, Striped(size=4))
    files = asked.draw(tmp_path / "figures")
    assert [file.name for file in files] == ["pictures-data.png", "pictures-folder.png"]
    sheet = np.array(Image.open(files[1]))
    assert sheet.shape == (TOP + 2 * (SIDE + GAP), 3 * SIDE + 2 * GAP, 3)
    plain, parsed = sheet[TOP : TOP + SIDE, :SIDE], sheet[TOP : TOP + SIDE, SIDE + GAP : 2 * SIDE + GAP]
    assert (plain == 250).all()
    assert (parsed != 250).any(-1).mean() == pytest.approx(2 / 4, abs=1e-6)  # two of four cells
    assert (parsed == PIVOT).all(-1).any()


def test_without_a_folder_the_data_s_own_are_drawn(tmp_path: Path):
    asked = probe(k=2, num_images=6)
    put(asked, Striped(size=4))
    assert [file.name for file in asked.draw(tmp_path)] == ["pictures-data.png"]


def test_cells_cover_an_image_that_they_do_not_divide():
    hidden = torch.ones(3, 3, dtype=torch.bool)
    shown = np.array(covered(Image.new("RGB", (10, 10), HIDDEN), hidden, torch.zeros_like(hidden)))
    assert (shown == HIDDEN).all()
    white = np.array(covered(Image.new("RGB", (10, 10), "white"), hidden, torch.zeros_like(hidden)))
    assert (white < 255).all()


@pytest.mark.parametrize(("model", "found"), [("uniter", "no visual parser"), ("soho", "a ConvolutionalParser")])
def test_models_without_a_map_are_refused(model: str, found: str):
    message = (
        f"probe masks cannot be put to model {model}: it has {found}, expected a SwinParser, whose last map "
        "says which cells are hidden together"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MasksProbe(encoder(model), encoder(model))


def drawn(folder: Path, count: int = 3) -> list[str]:
    return [sample.image_id for sample in probe(k=2, num_images=count, folder=folder).of_folder()]


def test_images_of_a_folder_are_spread_over_their_names(tmp_path: Path):
    for number in range(8):
        Image.new("RGB", (30, 20)).save(tmp_path / f"{number}.png")
    assert drawn(tmp_path) == ["0", "2", "5"]
    assert drawn(tmp_path, 20) == list("01234567")


def test_another_image_is_drawn_for_one_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for number in (1, 2, 4, 5, 7):
        Image.new("RGB", (30, 20)).save(tmp_path / f"{number}.png")
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "0.png").write_bytes(b"no image")
    (tmp_path / "3.png").mkdir()
    (tmp_path / "6.jpeg").write_bytes(whole[: len(whole) // 2])
    os.mkfifo(tmp_path / "8.jpg")
    names = [file.name for file in image_files(tmp_path)]
    assert names == ["0.png", "1.png", "2.png", "4.png", "5.png", "6.jpeg", "7.png", "8.jpg"]
    assert drawn(tmp_path) == ["1", "2", "4"]  # for 0, 2 and 6
    assert [message.split(": found")[0] for message in caplog.messages] == [
        f"masks: not drawn: {tmp_path / name}" for name in ("0.png", "6.jpeg")
    ]
    caplog.clear()
    assert drawn(tmp_path, 6) == ["1", "2", "4", "5", "7"]
    assert [message.split(": found")[0] for message in caplog.messages] == [
        f"masks: not drawn: {tmp_path / name}" for name in ("0.png", "6.jpeg", "8.jpg")
    ]


def test_a_folder_without_an_image_that_can_be_read_costs_nothing_but_its_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "images").mkdir()
    MasksProbe.check_options({"folder": tmp_path / "images"})
    assert caplog.messages == [f"masks: no image in folder={tmp_path / 'images'}"]
    for number in range(50):
        (tmp_path / "images" / f"{number:02}.png").write_bytes(b"no image")
    asked = probe(k=2, num_images=2, folder=tmp_path / "images")
    put(asked, Striped(size=4))
    caplog.clear()
    assert [file.name for file in asked.draw(tmp_path / "figures")] == ["pictures-data.png"]
    assert len(caplog.messages) == 2 * TRIES + 1
    assert caplog.messages[-1] == (
        f"masks: no readable image in folder={tmp_path / 'images'}, so that those of the data alone are drawn"
    )


@pytest.mark.parametrize(
    "ask", [lambda folder: MasksProbe.check_options({"folder": folder}), lambda f: probe(folder=f)]
)
def test_a_folder_that_is_not_there_is_refused_at_once(ask: Callable[[Path], object], tmp_path: Path):
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        message = f"probe.folder={tmp_path / name}: no such folder; give one with images, or null"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            ask(tmp_path / name)
