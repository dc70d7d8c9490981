"""Which cells masked feature regression hides: by attention and at random (VisualParsing figure 2)."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from vlp.configs.showing import printable
from vlp.data.collate import ProbeBatch
from vlp.data.image_files import Place
from vlp.data.pixels import PixelInput
from vlp.data.sample import Sample
from vlp.data.statistics import spread
from vlp.metrics.estimates import SampleMean
from vlp.models.encoder import VLEncoder
from vlp.models.parsers import SwinParser
from vlp.models.visual_masks import VisualMasks, visual_masks
from vlp.probes.base import Probe, estimated_row
from vlp.results import Row

# Axes: B images, R rows and C columns of cells, F feature width.

log = logging.getLogger(__name__)

CONDITIONS = ("model", "random_weights")
MASKINGS = ("parsed", "random", "parsed-random")
PAPER_K, PAPER_CELLS = 7, 49
"""Cells that the paper hides, of how many."""

TITLES = ("image", "hidden by attention", "hidden at random")
SIDE, GAP, TOP = 168, 6, 16
"""Pixels of a drawn image's side, between images, and of the line above them."""
HIDDEN, PIVOT, SHADE = (127, 127, 127), (220, 40, 40), 0.8
SUFFIXES = (".png", ".jpg", ".jpeg")
TRIES = 10
"""Files of a folder that are tried for an image, at most, where they cannot be read."""


class MasksProbe(Probe):
    """Draws the cells of an image that are hidden together, and measures how alike and how near they are.

    Of each image one cell is drawn, the pivot; hidden with it are the cells that it attends to most in the parser's
    last map (``parsed``), or as many others, drawn without replacement (``random``; in a training, ``masking=random``
    has no pivot). Rows ``cosine``: similarity of the pivot's feature and those of the cells hidden with it. Rows
    ``share`` with label ``hidden_neighbours``: of the up to eight cells around the pivot those that are hidden; from
    the others it could be copied. ``parameter`` says ``masking=parsed``, ``masking=random``, or, of ``cosine``,
    ``masking=parsed-random`` for the difference image by image. Conditions ``model`` and ``random_weights``.

    `draw` draws the first images of the data, and some of a folder, spread over their names; one that cannot be read is
    named in a warning, and another drawn if there is one.

    Args:
        encoder: the model in question.
        control: the same architecture with random weights.
        seed: of pivots and random cells.
        needs: annotations the data must have.
        k: cells hidden, the pivot among them; None for the paper's share of all cells.
        num_images: how many are drawn, of the data and of the folder.
        folder: with image files, at whatever depth; None for none.

    Raises:
        ValueError: if the model has no parser with a map of attention, or there is no such folder.
    """

    def __init__(
        self,
        encoder: VLEncoder,
        control: VLEncoder,
        seed: int = 0,
        needs: Iterable[str] = ("pixels",),
        k: int | None = None,
        num_images: int = 6,
        folder: Path | str | None = None,
    ) -> None:
        super().__init__(encoder, control, seed, needs)
        self.parser, self.control_parser = swin_parser(encoder), swin_parser(control)
        pixel_input = encoder.pixel_input
        assert pixel_input is not None
        self.input: PixelInput = pixel_input
        cells = (pixel_input.shortest // pixel_input.multiple) ** 2
        self.k = k or max(2, round(cells * PAPER_K / PAPER_CELLS))
        self.num_images, self.folder = num_images, folder
        self.files = [] if folder is None else image_files(folder)
        self.first: list[Sample] = []
        self.cosine = SampleMean((len(CONDITIONS), len(MASKINGS)))
        self.neighbours = SampleMean((len(CONDITIONS), 2))

    @classmethod
    def check_encoder(cls, encoder: VLEncoder, needs: Iterable[str], probe: str) -> None:
        """Refuse a model without a parser that has a map of attention as well."""
        super().check_encoder(encoder, needs, probe)
        swin_parser(encoder)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a folder that is not there, and say that there is no image in it."""
        folder = options.get("folder")
        if folder is not None and not image_files(folder):
            log.warning("masks: no image in folder=%s", folder)

    def test_step(self, batch: ProbeBatch, batch_idx: int) -> None:
        """Hide cells of every image, by both models' maps and at random."""
        assert batch.inputs.pixels is not None
        self.first += batch.samples[: max(0, self.num_images - len(self.first))]
        found = [
            [self._measure(parser, pixels[None], sample) for parser in (self.parser, self.control_parser)]
            for pixels, sample in zip(batch.inputs.pixels, batch.samples, strict=True)
        ]
        cosine, neighbours = (torch.stack([torch.stack(each) for each in part]) for part in _unzipped(found))
        self.cosine.update(torch.cat([cosine, cosine[..., :1] - cosine[..., 1:]], dim=-1))
        self.neighbours.update(neighbours)

    def results(self) -> list[Row]:
        """Return a row for each metric, condition and masking."""
        cosine, neighbours = self.cosine.estimate(), self.neighbours.estimate()
        rows = []
        for c, name in enumerate(CONDITIONS):
            for m, masking in enumerate(MASKINGS):
                rows.append(estimated_row(name, "cosine", cosine, (c, m), parameter=f"masking={masking}"))
            for m, masking in enumerate(MASKINGS[:2]):
                label = {"label": "hidden_neighbours", "parameter": f"masking={masking}"}
                rows.append(estimated_row(name, "share", neighbours, (c, m), **label))
        return rows

    def draw(self, folder: Path) -> list[Path]:
        """Draw the first images of the data and some of the folder; return the files."""
        others = self.of_folder()
        if not others:
            log.warning("masks: no readable image in folder=%s, so that those of the data alone are drawn", self.folder)
        sheets = {"pictures-data.png": self.first, "pictures-folder.png": others}
        return [self._sheet(samples, folder / name) for name, samples in sheets.items() if samples]

    def masks(self, parser: SwinParser, pixels: Tensor, sample: Sample) -> VisualMasks:
        """Return the masks of one image (1, 3, H, W), whose pivot depends on the seed and the image alone."""
        digest = hashlib.sha256(f"{self.seed}|{sample.image_id}".encode()).digest()
        return visual_masks(parser, pixels, self.k, int.from_bytes(digest[:7], "big"))

    def _measure(self, parser: SwinParser, pixels: Tensor, sample: Sample) -> tuple[Tensor, Tensor]:
        """Return the similarity to the pivot (2,), and the share of its neighbours that is hidden (2,)."""
        masks = self.masks(parser, pixels, sample)
        features_RCF, pivot_RC = masks.features[0], masks.pivot[0]
        around_RC = functional.max_pool2d(pivot_RC[None].float(), 3, stride=1, padding=1)[0].bool() & ~pivot_RC
        alike_RC = functional.cosine_similarity(features_RCF, features_RCF[pivot_RC], dim=-1)
        others = [mask[0] & ~pivot_RC for mask in (masks.parsed, masks.random)]
        alike = torch.stack([alike_RC[other].mean() for other in others])
        return alike, torch.stack([other[around_RC].float().mean() for other in others])

    def of_folder(self) -> list[Sample]:
        """Return the images of the folder that are drawn, in the order of their names."""
        length = len(self.files)
        found: list[int] = []
        for place in dict.fromkeys([*spread(length, self.num_images), *spread(length, self.num_images * TRIES)]):
            if len(found) == self.num_images:
                break
            try:
                self.input.read(_sample(self.files[place]))
            except (OSError, ValueError) as error:
                log.warning("masks: not drawn: %s", printable(str(error)))
            else:
                found.append(place)
        return [_sample(self.files[place]) for place in sorted(found)]

    def _sheet(self, samples: list[Sample], path: Path) -> Path:
        height = TOP + len(samples) * (SIDE + GAP)
        sheet = Image.new("RGB", (len(TITLES) * (SIDE + GAP) - GAP, height), "white")
        pen = ImageDraw.Draw(sheet)
        for column, title in enumerate(TITLES):
            pen.text((column * (SIDE + GAP), 2), title, fill="black")
        for row, sample in enumerate(samples):
            for column, image in enumerate(self._pictures(sample)):
                sheet.paste(image, (column * (SIDE + GAP), TOP + row * (SIDE + GAP)))
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
        return path

    def _pictures(self, sample: Sample) -> Iterator[Image.Image]:
        image = sample.image()
        assert image is not None
        plain = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        masks = self.masks(self.parser, self.input.read(sample)[None].to(self.device), sample)
        yield plain
        yield covered(plain, masks.parsed[0], masks.pivot[0])
        yield covered(plain, masks.random[0], masks.pivot[0])


def swin_parser(encoder: VLEncoder) -> SwinParser:
    """Return the parser of a model, if it has a map of attention.

    Raises:
        ValueError: naming the model, if it has none.
    """
    parser = getattr(encoder.embeddings, "parser", None)
    if not isinstance(parser, SwinParser):
        found = "no visual parser" if parser is None else f"a {type(parser).__name__}"
        raise ValueError(
            f"probe masks cannot be put to model {encoder.name}: it has {found}, expected a SwinParser, whose last map "
            "says which cells are hidden together"
        )
    return parser


def image_files(folder: Path | str) -> list[Path]:
    """Return the files in a folder and the folders in it whose names end as those of images do, sorted.

    Raises:
        ValueError: if there is no such folder.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"probe.folder={folder}: no such folder; give one with images, or null")
    return sorted(
        Path(home, name) for home, _, names in os.walk(folder) for name in names if name.lower().endswith(SUFFIXES)
    )


def covered(image: Image.Image, hidden_RC: Tensor, pivot_RC: Tensor) -> Image.Image:
    """Return ``image`` with the hidden cells shaded and the pivot framed."""
    rows, columns = hidden_RC.shape
    shown = image.copy()
    for row, column in hidden_RC.nonzero().tolist():
        edges = (column * image.width, row * image.height, (column + 1) * image.width, (row + 1) * image.height)
        box = tuple(round(edge / count) for edge, count in zip(edges, (columns, rows) * 2, strict=True))
        cell = shown.crop(box)
        shown.paste(Image.blend(cell, Image.new("RGB", cell.size, HIDDEN), SHADE), box)
        if pivot_RC[row, column]:
            ImageDraw.Draw(shown).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=PIVOT, width=2)
    return shown


def _sample(path: Path) -> Sample:
    place = Place(path, path.name)
    return Sample(path.stem, "", *place.image_size(), read_image=place.read)


def _unzipped(found: list[list[tuple[Tensor, Tensor]]]) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    return [[pair[0] for pair in each] for each in found], [[pair[1] for pair in each] for each in found]
