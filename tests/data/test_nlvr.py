import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlp.data import open_dataset
from vlp.data.featuriser import CropFeaturiser
from vlp.data.nlvr import CLASS_NAMES, ORDERS

RGB = {"black": (0, 0, 0), "yellow": (255, 255, 0), "blue": (0, 153, 255)}
FILE_COLOURS = {"Black": RGB["black"], "Yellow": RGB["yellow"], "#0099ff": RGB["blue"]}


def item(shape="square", colour="Black", x=10, y=20, size=30):
    return {"type": shape, "color": colour, "x_loc": x, "y_loc": y, "size": size}


def record(identifier="7-0", sentence="There is a tower.", label="true", panels=None):
    panels = panels or [[item()], [item("circle", "Yellow", 0, 0, 20)], []]
    fields = {"sentence": sentence, "label": label, "identifier": identifier, "directory": "0", "evals": {}}
    return {**fields, "structured_rep": panels}


def draw(fields, order) -> Image.Image:
    """Draw a record as the release does (all items as squares), from its description in the reference."""
    image = Image.new("RGBA", (400, 100), (128, 128, 128, 255))
    for left, which in zip((0, 150, 300), order, strict=True):
        image.paste((211, 211, 211, 255), (left, 0, left + 100, 100))
        for thing in fields["structured_rep"][which]:
            x, y = left + thing["x_loc"], thing["y_loc"]
            image.paste((*FILE_COLOURS[thing["color"]], 255), (x, y, x + thing["size"], y + thing["size"]))
    return image


def write(root: Path, records, split="dev", images=range(6)) -> Path:
    """Write records in the official layout."""
    folder = root / split / "images" / "0"
    folder.mkdir(parents=True)
    lines = [fields if isinstance(fields, str) else json.dumps(fields) for fields in records]
    (root / split / f"{split}.json").write_text("\n".join(lines), encoding="utf-8")
    for fields in records:
        for number in images if isinstance(fields, dict) else ():
            if isinstance(fields.get("structured_rep"), list):
                draw(record(), ORDERS[number]).save(folder / f"{split}-{fields.get('identifier')}-{number}.png")
    return root


def test_a_record_worked_by_hand(tmp_path):
    dataset = open_dataset("nlvr", root=write(tmp_path, [record(label="false")]), split="all")
    assert len(dataset) == 6
    sample = dataset[3]  # order 1 2 0: the yellow circle left, nothing in the middle, the black square right
    assert (sample.image_id, sample.caption, sample.width, sample.height) == (
        "dev-7-0-3",
        "There is a tower.",
        400,
        100,
    )
    assert (sample.label, sample.is_matched, dataset.truth_annotated) == ("false", False, True)
    pixels = sample.regions.boxes * torch.tensor([400, 100, 400, 100])
    boxes = [[0, 0, 20, 20], [310, 20, 340, 50], [0, 0, 100, 100], [150, 0, 250, 100], [300, 0, 400, 100]]
    torch.testing.assert_close(pixels, torch.tensor(boxes).float())
    assert [(thing.names, thing.attributes) for thing in sample.objects] == [
        (("circle",), ("yellow", "medium")),
        (("square",), ("black", "large")),
    ]
    names = [CLASS_NAMES[number] for number in sample.regions.class_ids]
    assert names == ["medium yellow circle", "large black square", "panel", "panel", "panel"]


def test_classes_are_type_by_colour_by_size_and_panel_after_background(tmp_path):
    dataset = open_dataset("nlvr", root=write(tmp_path, [record()]), split="all")
    regions = dataset[0].regions
    assert dataset.num_classes == 1 + 27 + 1
    assert regions.class_probs.argmax(1).tolist() == [1 + number for number in regions.class_ids.tolist()]
    assert regions.class_probs.sum(1).eq(1).all()
    assert regions.class_probs[:, 0].eq(0).all()
    assert regions.gold.all()
    assert regions.confidence.eq(1).all()


def test_features_are_those_of_the_pixels(tmp_path):
    dataset = open_dataset("nlvr", root=write(tmp_path, [record()]), split="all")
    for sample in dataset:
        image = sample.image()
        assert (image.mode, image.size) == ("RGB", (400, 100))
        again = CropFeaturiser(64)(np.asarray(image), sample.regions.boxes.numpy())
        assert torch.equal(again, sample.regions.features)
    assert dataset.fingerprint == open_dataset("scenes").fingerprint


def test_images_that_are_not_there_are_counted(tmp_path, caplog):
    root = write(tmp_path, [record()], images=(1, 4))
    with caplog.at_level(logging.WARNING):
        dataset = open_dataset("nlvr", root=root, split="all")
    assert [sample.image_id for sample in dataset] == ["dev-7-0-1", "dev-7-0-4"]
    assert caplog.messages == [f"nlvr: 4 of 6 images are not in {root}"]


def test_an_empty_sentence_is_left_as_it_is(tmp_path):
    dataset = open_dataset("nlvr", root=write(tmp_path, [record(sentence=" ")]), split="all")
    assert dataset[0].caption == dataset.caption(0) == " "


def test_official_splits_are_kept_where_there_are_several(tmp_path):
    write(tmp_path, [record("1-0")], split="train")
    write(tmp_path, [record("2-0"), record("3-0")], split="dev")
    sizes = {split: len(open_dataset("nlvr", root=tmp_path, split=split)) for split in ("train", "val", "all")}
    assert sizes == {"train": 6, "val": 12, "all": 18}
    with pytest.raises(ValueError) as error:
        open_dataset("nlvr", root=tmp_path, split="test")
    assert str(error.value) == f"dataset nlvr: {tmp_path} holds train, dev, but split test needs test/test.json"


def test_parts_of_one_split_share_neither_sentence_nor_set(tmp_path):
    # Sets 0 and 1 share a sentence up to case and spacing, sets 1 and 2 another; the rest stand alone.
    records = [
        record("0-0", "A dot."),
        record("1-0", "a  DOT."),
        record("1-1", "Two dots."),
        record("2-0", "two dots."),
    ]
    records += [record(f"{number}-{m}", f"Sentence {number}.") for number in range(3, 40) for m in range(2)]
    root = write(tmp_path, records, images=(0,))
    parts = {split: open_dataset("nlvr", root=root, split=split) for split in ("train", "val", "test")}
    keys = {split: {part.image_key(at) for at in range(len(part))} for split, part in parts.items()}
    assert sum(map(len, keys.values())) == len(set.union(*keys.values())) == 38
    assert sum(map(len, parts.values())) == len(records)
    whole = open_dataset("nlvr", root=root, split="all")
    assert {whole.image_key(at) for at in range(4)} == {"a dot."}


NOT_JSON = "not JSON (Expecting property name enclosed in double quotes at character 2); expected an object"
NO_NAME = "expected a plain name"
TWO_LISTS = {"structured_rep": [[], []]}

BAD = [
    ("{", f"line 2: {NOT_JSON}"),
    ("[1]", "line 2: found [1], expected an object"),
    ({"sentence": "A."}, "line 2: field identifier is missing; found sentence"),
    (record() | {"sentence": 3}, "line 2: field sentence: found 3, expected a string"),
    (record() | {"label": True}, "line 2: field label: found True, expected 'true' or 'false'"),
    (record() | TWO_LISTS, "line 2: field structured_rep: found [[], []], expected a list of three lists"),
    (
        record(panels=[[item(size=15)], [], []]),
        "line 2, structured_rep[0][0]: field size: found 15, expected 10 or 20 or 30",
    ),
    (
        record(panels=[[], [item(), item(colour="Red")], []]),
        "line 2, structured_rep[1][1]: field color: found 'Red', expected 'Black' or 'Yellow' or '#0099ff'",
    ),
    (
        record(panels=[[item(x=71)], [], []]),
        "line 2, structured_rep[0][0]: field x_loc: found 71, expected a whole number from 0 to 70",
    ),
    (record(panels=[[3], [], []]), "line 2: field structured_rep[0][0]: found 3, expected an object"),
    (record(identifier=".."), f"line 2: field identifier: found '..', {NO_NAME}"),
    (record() | {"directory": ""}, f"line 2: field directory: found '', {NO_NAME}"),
    (
        record(identifier="../7"),
        f"line 2: field identifier: found '../7', {NO_NAME}, without / \\ or control characters",
    ),
    (
        record(panels=[[], [item()] * 101, []]),
        "line 2: field structured_rep: found 101 items, expected at most 100",
    ),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=range(len(BAD)))
def test_a_bad_record_is_named_by_file_line_and_field(tmp_path, line, message):
    root = write(tmp_path, [record()])
    path = root / "dev" / "dev.json"
    second = line if isinstance(line, str) else json.dumps(line)
    path.write_text(f"{json.dumps(record())}\n{second}\n", encoding="utf-8")
    with pytest.raises(ValueError) as error:
        open_dataset("nlvr", root=root, split="all")
    assert str(error.value) == f"{path}, {message}"


def test_a_record_without_any_image_is_named(tmp_path):
    root = write(tmp_path, [record()], images=())
    with pytest.raises(ValueError) as error:
        open_dataset("nlvr", root=root, split="all")
    image = root / "dev" / "images" / "0" / "dev-7-0-0.png"
    assert (
        str(error.value)
        == f"{root / 'dev' / 'dev.json'}, line 1: no image of it; expected {image} or one of the five others"
    )


@pytest.mark.parametrize("content", [b"", b"no image", "truncated", "small"])
def test_a_bad_image_is_named(tmp_path, content):
    root = write(tmp_path, [record()])
    path = root / "dev" / "images" / "0" / "dev-7-0-2.png"
    if content == "small":
        Image.new("RGB", (40, 10)).save(path)
    else:
        path.write_bytes(path.read_bytes()[:200] if content == "truncated" else content)
    dataset = open_dataset("nlvr", root=root, split="all")
    with pytest.raises(ValueError) as error:
        dataset[2]
    found = {
        b"": "no PNG image (it begins with b'')",
        b"no image": "no PNG image (it begins with b'no image')",
        "truncated": "no readable image (image file is truncated)",
        "small": "40 x 10 pixels",
    }
    assert str(error.value) == f"{path}: found {found[content]}, expected 400 x 100 pixels"


def test_a_root_without_official_files_is_named(tmp_path):
    with pytest.raises(ValueError) as error:
        open_dataset("nlvr", root=tmp_path, split="val")
    expected = "train/train.json or dev/dev.json or test/test.json; give dataset.root=DIR, the folder that does"
    assert str(error.value) == f"dataset nlvr: {tmp_path} holds no {expected}"
    with pytest.raises(ValueError) as error:
        open_dataset("nlvr", root=tmp_path / "gone", split="val")
    assert str(error.value).startswith(
        f"dataset nlvr: folder {tmp_path / 'gone'} does not exist; give dataset.root=DIR"
    )


# The real sample: 664 records of dev, all six images each.


@pytest.fixture(scope="module")
def real(shared):
    if not (shared / "data" / "nlvr").is_dir():
        pytest.skip(f"the NLVR sample is not at {shared / 'data' / 'nlvr'}; put it there to run this test")
    return shared / "data" / "nlvr"


def test_real_boxes_are_centred_on_their_items(real):
    dataset = open_dataset("nlvr", root=real, split="all")
    assert len(dataset) == 664 * 6
    checked = 0
    for index in range(0, len(dataset), 23):  # 23 and 6 have no common factor: all six orders come up
        sample = dataset[index]
        pixels = np.asarray(sample.image())
        for thing in sample.objects:
            x, y = ((thing.box[:2] + thing.box[2:]) / 2 * torch.tensor([400, 100])).int().tolist()
            assert tuple(pixels[y, x]) == RGB[thing.attributes[0]]
            checked += 1
        for at, panel in enumerate(sample.regions.boxes[-3:] * torch.tensor([400, 100, 400, 100])):
            assert panel.tolist() == [150 * at, 0, 150 * at + 100, 100]
    assert checked > 500


def test_real_parts_are_whole_and_share_no_sentence(real):
    parts = [open_dataset("nlvr", root=real, split=split) for split in ("train", "val", "test")]
    assert sum(map(len, parts)) == 664 * 6
    sentences = [{" ".join(part.caption(at).lower().split()) for at in range(len(part))} for part in parts]
    sets = [{part[at].image_id.split("-")[1] for at in range(0, len(part), 6)} for part in parts]
    for groups in (sentences, sets):
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]
        assert not groups[1] & groups[2]
