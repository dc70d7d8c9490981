"""Inputs that nobody thought of: real ones with random damage, and random ones, 3,000 in all.

Of each there may come a result that is as it should be, or an error of ours that names the file or record; never
another error, a hang, or more memory than a bound.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import hypothesis
import torch
from hypothesis import strategies as st

from tests.data.photographs import jpeg, karpathy_record, put_genome, put_tar
from tests.data.test_nlvr import record
from tests.data.test_nlvr import write as write_nlvr
from tests.data.worlds import HandMade
from tests.faults import forging
from tests.faults.case import Case, Verdict
from tests.faults.refusing import Answer, ask, bounded_memory, verdict
from tests.models.examples import small_encoder
from vlp.configs import check_targets, instantiate, resolve
from vlp.configs.options import read_yaml
from vlp.data.caption_table import CaptionTable, TableWriter
from vlp.data.coco import _read_karpathy
from vlp.data.collate import collate_probe
from vlp.data.images import read_rgb
from vlp.data.json_entries import read_entries
from vlp.data.json_lines import read_json_lines
from vlp.data.nlvr import NLVRDataset
from vlp.data.paths import plain_name
from vlp.data.sample import Regions, Sample
from vlp.data.tar_shards import image_key, members, read_member
from vlp.data.tokenisation import open_tokenizer
from vlp.data.visual_genome import _read
from vlp.models import load_weights
from vlp.models.checkpoints.records import checked_record

Trial = Callable[[Any], Answer]
"""Puts one input to the code under test."""

# Damage

NUMBERS = (0, 1, 4, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 10**12, 2**63 - 1, 2**64 - 1)
"""Lengths, sizes and offsets that files claim."""

CODES: tuple[tuple[int, Literal["little", "big"]], ...] = ((64, "little"), (32, "big"), (8, "big"))
"""Bits and order of numbers in safetensors and zip files, in PNG files, and in pickles."""

SNIPPETS = (b"", b"\0" * 8, b"[" * 500, b"{" * 70, b"\xff\xfe", b"\xed\xa0\x80", b'"', b"\n", b"\x1b[2J", b"${", b"../")


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, most: int = 4) -> bytes:
    """Return bytes with up to ``most`` places changed, cut out, doubled or written over."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        stop = start + draw(st.sampled_from((1, 1, 2, 4, 8, 64, 1000)))
        content[start:stop] = draw(_replacement(bytes(content[start:stop])))
    return bytes(content)


def _replacement(found: bytes) -> st.SearchStrategy[bytes]:
    numbers = [
        struct.pack(form, number % 2 ** (8 * struct.calcsize(form))) for number in NUMBERS for form in ["<Q", ">I", "B"]
    ]
    return st.one_of(
        st.binary(min_size=len(found), max_size=len(found)),
        st.sampled_from([*numbers, *SNIPPETS, found * 2, found * 50]),
    )


WORDS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", ".", "..", "../../x", "/etc", "a\0b", "\ud800", "\x1b[31m", "<b>", "$x$", "${a}", "???", "x" * 999]
    ),
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from([10**400, -(10**30), 1e308]), WORDS
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)
"""Trees as JSON, YAML or a pickle may hold them, and as they may not."""


def _nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


DEPTHS = st.sampled_from((0, 0, 0, 0, 3, 63, 64, 65, 200))


@st.composite
def changed(draw: st.DrawFn, tree: dict[str, Any]) -> dict[str, Any]:
    """Return a tree of which one or two entries, at any depth, are others."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 2))):
        node: Any = tree
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = draw(st.sampled_from(keys)) if keys else None
            if key is None or not isinstance(node[key], dict | list) or not node[key] or draw(st.booleans()):
                break
            node = node[key]
        if key is not None:
            node[key] = _nested(draw(VALUES), draw(DEPTHS))
    return tree


def _dumped(value: Any) -> bytes:
    """Return JSON as careless programs write it: ``NaN``, half surrogate pairs and all."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


# Families: what is drawn, and what it is put to

RECORD = record()
TOO_LONG = st.builds(lambda word, times: f"{word} " * times, WORDS, st.sampled_from((1, 100, 10_000)))
TOKENIZER_PIECES = 64


def _lines(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    records = st.one_of(VALUES.map(_dumped), VALUES.map(lambda value: json.dumps({"a": value}).encode()), st.binary())
    lines = st.lists(st.one_of(records, damaged(_dumped(RECORD))), min_size=1, max_size=5).map(b"\n".join)
    return lines, lambda content: _of_file(folder / "records.jsonl", content, lambda file: list(read_json_lines(file)))


def _records(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    root = write_nlvr(folder / "nlvr", [RECORD])
    lines = st.one_of(changed(RECORD).map(_dumped), damaged(_dumped(RECORD)))

    def read(file: Path) -> object:
        dataset = NLVRDataset("all", root, 16, 0)
        regions = dataset[0].regions
        assert regions is not None
        assert torch.isfinite(regions.features).all()
        return collate_probe([dataset[0]], open_tokenizer(), None)

    names = (str(root), "sample dev-")
    return lines, lambda line: _of_file(root / "dev" / "dev.json", line, read, names)


def _documents(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    whole = {"info": {"year": 2014}, "images": [{"id": 1}, {"id": [2]}], "annotations": [{"id": 3}]}
    documents = st.one_of(changed(whole).map(_dumped), damaged(_dumped(whole)), st.binary())
    keys = st.sampled_from((("",), ("images",), ("images", "annotations")))

    def read(drawn: tuple[bytes, tuple[str, ...]]) -> Answer:
        return _of_file(folder / "file.json", drawn[0], lambda file: list(read_entries(file, drawn[1])))

    return st.tuples(documents, keys), read


def _photographs(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    karpathy = {"images": [karpathy_record(number, "train", ["A dog.", "One."]) for number in (1, 2)]}
    genome = put_genome(folder / "vg", {1: ["a dog", "one"], 2: ["two"]})
    images, regions = ((genome / name).read_bytes() for name in ("image_data.json", "region_descriptions.json"))
    drawn = st.one_of(
        st.tuples(st.just("dataset_coco.json"), changed(karpathy).map(_dumped)),
        st.tuples(st.just("image_data.json"), changed({"": json.loads(images)}).map(lambda tree: _dumped(tree[""]))),
        st.tuples(
            st.just("region_descriptions.json"), changed({"": json.loads(regions)}).map(lambda tree: _dumped(tree[""]))
        ),
    )

    def read(name: str, file: Path) -> object:
        writer = TableWriter()
        if name == "dataset_coco.json":
            _read_karpathy(file, writer)
        else:
            files = {name: genome / name for name in ("image_data.json", "region_descriptions.json")}
            _read(*(files | {name: file}).values(), writer)
        return _checked_table(writer.table())

    return drawn, lambda drawn: _of_file(folder / drawn[0], drawn[1], partial(read, drawn[0]))


def _checked_table(table: CaptionTable) -> CaptionTable:
    assert len(table.owners) == len(table.captions) == len(table.caption_ids)
    assert len(table.image_ids) == len(table.files) == len(set(table.image_ids.tolist()))
    assert all(0 <= owner < len(table.files) for owner in table.owners.tolist())
    for number in range(len(table.files)):
        folder, name = table.files[number].split("/")
        assert not {folder, name} & {"", ".", ".."}
    return table


def _archives(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    content = {"1.jpg": jpeg(), "1.json": b"{}", "a" * 120 + "/2.png": b"x" * 600}
    whole = [put_tar(folder / f"{form}.tar", content, form).read_bytes() for form in (1, 2)]
    damage = st.sampled_from(whole).flatmap(lambda archive: damaged(archive[:8192]))

    def read(file: Path) -> object:
        found = [member for member in members(file) if image_key(member.name)]
        assert all(len(read_member(file, offset, size)) == size for _, offset, size in found)
        return len(found)

    return damage, lambda content: _of_file(folder / "a.tar", content, read)


def _images(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    drawings = [forging.drawing(mode, (40, 10)) for mode in ("RGB", "RGBA", "L", "P", "1", "LA")]
    damage = st.sampled_from(drawings).flatmap(lambda whole: st.one_of(damaged(whole), _damaged_chunks(whole)))

    def read(file: Path) -> object:
        image = read_rgb(file)
        assert image.mode == "RGB"
        return image.tobytes()

    return damage, lambda content: _of_file(folder / "image.png", content, read)


def _damaged_chunks(whole: bytes) -> st.SearchStrategy[bytes]:
    """Damage the inside of a PNG file's chunks, so that their checksums are right."""
    chunks = forging.png_chunks(whole)
    parts = st.tuples(*(st.one_of(st.just(data), damaged(data, 2)) for _, data in chunks))
    return parts.map(
        lambda data: forging.joined_chunks([(kind, new) for (kind, _), new in zip(chunks, data, strict=True)])
    )


def _checkpoints(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    encoder = small_encoder("bert", layers=1)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    drawn = [
        st.tuples(st.just(kind), _damaged_checkpoint(folder / kind, encoder))
        for kind in ("last.ckpt", "old.pt", "model.safetensors")
    ]

    def load(file: Path) -> object:
        try:
            return load_weights(encoder, file, strict=False)
        except ValueError:
            assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
            raise
        finally:
            encoder.load_state_dict(before)

    return st.one_of(drawn), lambda drawn: _of_file(folder / drawn[0], drawn[1], load)


def _damaged_checkpoint(file: Path, encoder: torch.nn.Module) -> st.SearchStrategy[bytes]:
    """Damage a checkpoint anywhere, or only where it says what it holds."""
    forging.write_checkpoint(file, encoder.state_dict(), {"model": {"name": "bert"}}, legacy=file.suffix == ".pt")
    whole = file.read_bytes()
    if file.suffix == ".safetensors":
        (length,) = struct.unpack("<Q", whole[:8])
        headers = damaged(whole[8 : 8 + length])
        return st.one_of(
            damaged(whole), headers.map(lambda new: struct.pack("<Q", len(new)) + new + whole[8 + length :])
        )
    if file.suffix == ".pt":
        return st.one_of(damaged(whole), damaged(whole[:4000]).map(lambda start: start + whole[4000:]))
    members = forging.zip_members(file)
    (name,) = (name for name in members if name.endswith("data.pkl"))
    return st.one_of(damaged(whole), damaged(members[name]).map(lambda new: _zipped(file, {**members, name: new})))


def _zipped(file: Path, members: dict[str, bytes]) -> bytes:
    forging.write_zip(file, members)
    return file.read_bytes()


def _captions(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    def cut(caption: str) -> object:
        encoding = open_tokenizer().encode(caption, TOKENIZER_PIECES, "sample fuzzed")
        assert 2 < len(encoding) <= TOKENIZER_PIECES
        assert int(encoding.offsets.max()) <= len(caption)
        return encoding

    return st.one_of(st.text(), TOO_LONG), lambda caption: ask(partial(cut, caption), ("sample fuzzed",))


def _regions(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    sides = st.tuples(st.floats(0, 0.4), st.floats(0.5, 1))
    boxes = st.lists(st.tuples(sides, sides), min_size=1, max_size=3).map(_corners)
    features = st.tuples(st.integers(0, 3), st.sampled_from((4, 4, 4, 3))).map(lambda shape: torch.rand(shape))
    fitting = boxes.map(lambda drawn: (drawn, torch.rand(len(drawn), 4)))
    drawn = st.one_of(fitting, _spoilt(fitting), _spoilt(fitting), st.tuples(boxes, features))

    def collate(drawn: tuple[torch.Tensor, torch.Tensor]) -> object:
        sample = Sample("fuzzed", "a dog", 100, 50, "sample", Regions(*drawn))
        inputs = collate_probe([HandMade()[0], sample], open_tokenizer(), TOKENIZER_PIECES).inputs
        assert inputs.boxes is not None
        assert inputs.features is not None
        assert ((inputs.boxes >= 0) & (inputs.boxes <= 1)).all()
        assert (inputs.boxes[1, : len(drawn[0]), :2] < inputs.boxes[1, : len(drawn[0]), 2:]).all()
        assert torch.isfinite(inputs.features).all()
        return inputs

    return drawn, lambda drawn: ask(partial(collate, drawn), ("image 'fuzzed' (sample 'sample')",))


def _corners(sides: Sequence[Sequence[tuple[float, float]]]) -> torch.Tensor:
    return torch.tensor([(x[0], y[0], x[1], y[1]) for x, y in sides])


@st.composite
def _spoilt(draw: st.DrawFn, fitting: st.SearchStrategy[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    """Write any number over one of a region's."""
    tensors = [tensor.clone() for tensor in draw(fitting)]
    flat = tensors[draw(st.integers(0, 1))].view(-1)
    edges = st.sampled_from([0.0, 1.0, 1.0005, -0.0005, 0.45, 300.0])
    flat[draw(st.integers(0, len(flat) - 1))] = draw(st.one_of(st.floats(width=32), edges))
    return tuple(tensors)


YAML = b"defaults: [x]\na: &a {b: [1, 2.5]}\nc: ${a.b}\nd: *a\n"
TARGETS = st.sampled_from(
    ["torch.nn.Linear", "torch.nn.GELU", "torch.load", "os.system", "vlp.data.sample.Batch", "vlp.data.nlvr.logging.os"]
)
REFERENCES = st.lists(st.sampled_from(["${a}", "${b.c}", "${.d}", "${..a}", "${oc.env:HOME}", "${", "}", "x", "\\"]))
LEAVES = st.one_of(REFERENCES.map("".join), WORDS, st.integers(), st.floats(), st.none())
CONFIGS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["a", "b", "c", "d", "_args_", "_partial_", "_target_", "in_features"]), inner),
        st.fixed_dictionaries({"_target_": TARGETS, "in_features": inner}),
    ),
    max_leaves=15,
)


def _configs(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    trees = st.dictionaries(st.sampled_from(["a", "b", "d", "_target_", "_args_"]), CONFIGS, min_size=1)
    texts = st.one_of(
        st.text(), damaged(b"defaults: [x]\na: &a {b: [1, *a]}\nc: ${a.b}\n").map(lambda text: text.decode("latin-1"))
    )

    def build(tree: dict[str, Any]) -> object:
        resolved = resolve(tree)
        check_targets(resolved)
        assert "os.system" not in str(resolved)
        return instantiate(resolved, _key_="a") if "_target_" in resolved else resolved

    def put(drawn: Any) -> Answer:
        if isinstance(drawn, dict):
            return ask(partial(build, drawn), ("config", "a", "b", "d", "_"))
        return ask(lambda: read_yaml(drawn, "FILE"), ("FILE",))

    return st.one_of(trees, texts), put


def _names(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    def look(name: str) -> object:
        path = folder / plain_name(name, "FILE, line 3: field id")
        assert path.parent == folder
        assert path.resolve().parent == folder.resolve()
        return path.exists()

    return st.one_of(st.text(max_size=300), WORDS), lambda name: ask(partial(look, name), ("FILE, line 3: field id",))


def _records_of_checkpoints(folder: Path) -> tuple[st.SearchStrategy[Any], Trial]:
    whole = {"model": {"name": "bert"}, "size": "tiny", "vocab_size": 60, "tokenizer": None, "features": {"width": 4}}
    return changed(whole), lambda tree: ask(partial(checked_record, tree, "FILE, record"), ("FILE, record",))


def _of_file(file: Path, content: bytes, read: Callable[[Path], object], names: Sequence[str] = ()) -> Answer:
    file.write_bytes(content)
    return ask(partial(read, file), names or (str(file),))


FAMILIES: dict[str, tuple[Callable[[Path], tuple[st.SearchStrategy[Any], Trial]], int]] = {
    "JSON lines": (_lines, 350),
    "long JSON lists": (_documents, 300),
    "records of NLVR": (_records, 250),
    "records of photographs": (_photographs, 250),
    "bytes of tar files": (_archives, 300),
    "bytes of PNG images": (_images, 300),
    "bytes of checkpoints": (_checkpoints, 400),
    "records of checkpoints": (_records_of_checkpoints, 150),
    "captions": (_captions, 150),
    "boxes and features": (_regions, 250),
    "configs": (_configs, 300),
    "names": (_names, 150),
}
"""How each is made, and how many of it are tried."""


def cases(seed: int, count: int | None = None) -> list[Case]:
    """Return one case a family; all of them try 3,150 inputs."""
    return [Case("fuzz", name, partial(fuzz, name, seed)) for name in FAMILIES][:count]


def fuzz(name: str, seed: int, folder: Path, number: int | None = None) -> Verdict:
    """Try inputs of a family.

    Args:
        name: the family.
        seed: of what is drawn.
        folder: empty.
        number: of inputs, None for the family's own.
    """
    make, usual = FAMILIES[name]
    strategy, trial = make(folder)
    answers: list[Answer] = []
    settings = hypothesis.settings(
        max_examples=number or usual,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    @settings
    @hypothesis.seed(seed)
    @hypothesis.given(strategy)
    def try_one(drawn: Any) -> None:
        answer = trial(drawn)
        answers.append(
            answer
            if not answer.trouble
            else Answer(**{**vars(answer), "trouble": f"{answer.trouble}\n  {drawn!r:.300}"})
        )

    with bounded_memory():
        try_one()
    return verdict(answers)
