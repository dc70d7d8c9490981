"""Files that somebody made on purpose: each has to be refused by name, whatever it claims, and none of it may run."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from PIL import Image

from tests.data.photographs import jpeg, karpathy_record, put, put_genome, put_karpathy
from tests.data.test_nlvr import record
from tests.data.test_nlvr import write as write_nlvr
from tests.data.worlds import HandMade
from tests.faults import forging
from tests.faults.case import Case, Verdict
from tests.faults.forging import Call, tensor
from tests.faults.refusing import ask, bounded_memory, verdict
from tests.models.examples import small_encoder
from vlp.configs import instantiate, resolve
from vlp.configs.options import read_yaml
from vlp.data import open_dataset
from vlp.data.collate import collate_probe
from vlp.data.images import read_rgb
from vlp.data.nlvr import NLVRDataset
from vlp.data.sample import Sample
from vlp.data.tokenisation import open_tokenizer
from vlp.models import load_weights
from vlp.models.checkpoints.files import load_plain
from vlp.probes.pretraining_heads import WrittenHeads, trained_heads

Use = Callable[[Path], object]
"""Makes something hostile in a folder and has it read."""

HUGE = 10**12
MARK = "ran"
"""A file that hostile code would make."""

OFFSETS = 40
"""Places at which a file is cut."""


def cases(seed: int, count: int | None = None) -> list[Case]:
    """Return one case for each hostile file; they are the same for every seed."""
    refused = [Case("hostile", name, partial(_refuse, use, names)) for name, use, names in _refused()]
    shown = [Case("hostile", f"{kind} cut anywhere", partial(_cut, kind)) for kind in CUT]
    return [*refused, *shown][:count]


def _refuse(use: Use, names: tuple[str, ...], folder: Path) -> Verdict:
    with bounded_memory():
        answer = ask(partial(use, folder), names or (str(folder),))
    troubles = [] if answer.message or answer.trouble else [f"accepted: {answer.result!r:.200}"]
    if (folder / MARK).exists():
        troubles.append("code of the file was run")
    return verdict([answer], troubles)


def _refused() -> Iterator[tuple[str, Use, tuple[str, ...]]]:
    """Yield what is done in words, how, and what the refusal names (nothing: the folder it is in)."""
    for name, use in CONFIGS.items():
        yield f"config: {name}", use, ("config", "at the top", "a:", "a ", "k1", "FILE")
    for name, forge in CHECKPOINTS.items():
        yield f"checkpoint: {name}", partial(_load, forge), ()
    for name, changes in RECORDS.items():
        yield (
            f"checkpoint's record: {name}",
            partial(_build_heads, changes),
            (changes.get("tokenizer", "hostile.ckpt"),),
        )
    for name, content in IMAGES.items():
        yield f"image: {name}", partial(_read_image, content), ()
    for name, line in LINES.items():
        yield f"JSON lines: {name}", partial(_read_lines, line), ()
    for name, content in DOCUMENTS.items():
        yield f"JSON document: {name}", partial(_read_document, content), ()
    for name, entry in PHOTOGRAPHS.items():
        yield f"record of an image: {name}", partial(_read_photograph, entry), ()
    for name, content in ARCHIVES.items():
        yield f"tar shard: {name}", partial(_read_archive, content), ()
    for name, caption in CAPTIONS.items():
        yield f"caption: {name}", partial(_cut_caption, caption), ("sample hostile",)
    for name, values in REGIONS.items():
        yield f"regions: {name}", partial(_collate, values), ("image 'hostile' (sample 'sample')",)


# Configs


def _call(target: str, *args: Any) -> Use:
    return lambda folder: instantiate({"_target_": target, "_args_": [str(arg) for arg in args]})


def _doubling(levels: int) -> dict[str, str]:
    return {f"k{at}": f"${{k{at + 1}}}${{k{at + 1}}}" for at in range(levels)} | {f"k{levels}": "x" * 100}


def _nested(levels: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(levels):
        tree = {"a": tree}
    return tree


ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))

CONFIGS: dict[str, Use] = {
    "a target of the standard library": _call("os.system", f"touch {MARK}"),
    "a target that our modules import": _call("vlp.data.nlvr.logging.os.system", f"touch {MARK}"),
    "a function of ours that writes": _call("vlp.models.export_weights", MARK, MARK),
    "a metric that fetches a model": _call("torchmetrics.multimodal.CLIPScore", "someone/model"),
    "a loader of pickles": _call("torch.load", "hostile.pt"),
    "text that doubles": lambda folder: resolve(_doubling(15)),
    "references that lead to themselves": lambda folder: resolve({"a": "${b}", "b": "x${a}"}),
    "a container within itself": lambda folder: resolve({"a": {"b": "${a}"}}),
    "nesting": lambda folder: resolve(_nested(100_000)),
    "nesting in YAML": lambda folder: read_yaml("[" * 100_000, "FILE"),
    "aliases in YAML": lambda folder: read_yaml(ALIASES, "FILE"),
    "objects in YAML": lambda folder: read_yaml(f"a: !!python/object/apply:os.mkdir [{MARK}]", "FILE"),
    "a secret of the environment": lambda folder: resolve({"a": "${oc.env:WANDB_API_KEY}"}),
}

# Checkpoints


def _load(forge: Use, folder: Path) -> object:
    file = folder / "hostile.ckpt"
    forge(file)
    if file.suffix == ".ckpt" and (folder / "hostile.safetensors").exists():
        file = folder / "hostile.safetensors"
    return load_weights(small_encoder("bert"), file, strict=False)


def _zip(value: Any) -> Use:
    return lambda file: forging.forge_checkpoint(file, forging.pickled(value))


def _legacy(value: Any) -> Use:
    return lambda file: forging.forge_legacy(file, forging.pickled(value, legacy=True))


def _safetensors(header: bytes) -> Use:
    return lambda file: forging.forge_safetensors(file.with_suffix(".safetensors"), header)


def _touch(save: Callable[[Any], Use]) -> Use:
    return lambda file: save({"weight": Call(os.mkdir, str(file.parent / MARK))})(file)


def _bomb(file: Path) -> None:
    forging.forge_checkpoint(file, forging.pickled({"weight": "x" * 10**8}), zipfile.ZIP_DEFLATED)


def _twice(file: Path) -> None:
    torch.save({"weight": torch.zeros(4)}, file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("hostile/DATA.PKL", forging.pickled({"weight": Call(bytearray, 10**10)}))


def _shared(levels: int) -> list[Any]:
    tree: list[Any] = ["x"]
    for _ in range(levels):
        tree = [tree] * 10
    return tree


def _with_attribute() -> OrderedDict[str, Any]:
    state: OrderedDict[str, Any] = OrderedDict(weight=tensor(4, (4,)))
    vars(state)["get"] = 3
    return state


def _wrong_shapes(file: Path) -> None:
    tensors = {name: torch.zeros(3) for name in small_encoder("bert").state_dict()}
    forging.write_checkpoint(file, tensors, {})


def _another_digest(file: Path) -> None:
    forging.write_checkpoint(file, small_encoder("bert").state_dict(), {})
    file.with_name(f"{file.name}.sha256").write_text(f"{'0' * 64}  {file.name}\n", "utf-8")


CHECKPOINTS: dict[str, Use] = {
    "code in its pickle": _touch(_zip),
    "code in an old pickle": _touch(_legacy),
    "a tensor of 10^12 numbers": _zip({"weight": tensor(HUGE, (HUGE,))}),
    "a view of 10^12 numbers": _zip({"weight": tensor(4, (HUGE,))}),
    "one number 10^12 times": _zip({"weight": tensor(4, (HUGE,), (0,))}),
    "a storage of 10^12 numbers": _zip({"weight": tensor(HUGE, (4,), offset=HUGE)}),
    "a negative storage": _zip({"weight": tensor(-4, (4,))}),
    "a text for a number": _zip({"weight": tensor("4", (4,))}),
    "an old tensor of 10^12 numbers": _legacy({"weight": tensor(HUGE, (HUGE,))}),
    "an old view of 10^12 numbers": _legacy({"weight": tensor(4, (HUGE,))}),
    "one old number 10^12 times": _legacy({"weight": tensor(4, (HUGE,), (0,))}),
    "a call that fills the memory": _zip({"weight": Call(bytearray, HUGE)}),
    "an old call that fills the memory": _legacy({"weight": Call(bytearray, HUGE)}),
    "a tensor that is asked for, not loaded": _zip({"weight": Call(torch.FloatTensor, HUGE)}),
    "a compressed member": _bomb,
    "two pickles under one name": _twice,
    "a pickle nested in itself": _zip({"weight": _shared(0), "deep": _nested(200)}),
    "a dictionary with methods of its own": _zip(_with_attribute()),
    "no tensors": _zip({"weight": 3}),
    "a list": _zip([tensor(4, (4,))]),
    "wrong shapes": _wrong_shapes,
    "another digest": _another_digest,
    "a header of 10^12 numbers": _safetensors(forging.safetensors_header([HUGE], 4 * HUGE)),
    "a header of more numbers than it holds": _safetensors(forging.safetensors_header([HUGE])),
    "a header whose product overflows": _safetensors(forging.safetensors_header([2**32, 2**32, 2**32])),
    "a header that nests": _safetensors(b'{"a":' * 100_000),
    "a record that nests": _safetensors(forging.safetensors_header([4], vlp="[" * 100_000)),
    "a record that is a list": _safetensors(forging.safetensors_header([4], vlp="[1]")),
    "a record with another kind of value": _safetensors(forging.safetensors_header([4], vlp='{"model": [1]}')),
    "a record whose parts are shared": _zip({"weight": tensor(4, (4,)), "vlp": {"model": {"x": _shared(30)}}}),
    "a record with 10^12 classes": _zip({"weight": tensor(4, (4,)), "vlp": {"num_classes": HUGE}}),
}


def _build_heads(changes: dict[str, Any], folder: Path) -> object:
    """Have a probe build the heads that a checkpoint's record describes."""
    encoder = small_encoder("uniter")
    file = folder / "hostile.ckpt"
    record = {"objective": {"combine": "sum", "parts": {"mlm": {"module": MLM, "weight": 1.0}}}, **changes}
    forging.write_checkpoint(file, encoder.state_dict(), record)
    if "tokenizer" in changes:
        return open_tokenizer(load_plain(file)["vlp"]["tokenizer"], is_asked=False)
    written = WrittenHeads.read(file)
    return trained_heads(written.build(encoder), written)


def _objective(module: Any) -> dict[str, Any]:
    return {"objective": {"combine": "sum", "parts": {"mlm": {"module": module, "weight": 1.0}}}}


MLM: dict[str, Any] = {
    "_target_": "vlp.objectives.mlm.MaskedLanguageModelling",
    "_partial_": True,
    "corruption": {"_target_": "vlp.data.masking.TextMasking"},
}
RECORDS: dict[str, dict[str, Any]] = {
    "a target of the standard library": _objective({"_target_": "os.mkdir", "path": MARK}),
    "a target within another": _objective({**MLM, "corruption": {"_target_": "os.mkdir", "path": MARK}}),
    "a layer that fills the memory": _objective(
        {"_target_": "torch.nn.Linear", "in_features": 10**6, "out_features": 10**6}
    ),
    "a variable of the environment": _objective({**MLM, "corruption": "${oc.env:HOME}"}),
    "no parts": {"objective": {"combine": "sum"}},
    "parts that are none": {"objective": {"combine": "sum", "parts": {"mlm": [1]}}},
    "heads that the file lacks": {},
    "a tokenizer to be fetched": {"tokenizer": "someone/model"},
    "a tokenizer that is a device": {"tokenizer": "/dev/zero"},
}

# Images


def _read_image(content: bytes, folder: Path) -> object:
    (folder / "image.png").write_bytes(content)
    return read_rgb(folder / "image.png")


def _gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (400, 100)).save(buffer, "GIF")
    return buffer.getvalue()


def _animation() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in range(50)]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


TEXT_BOMB = zlib.compress(bytes(10**8))
IMAGES: dict[str, bytes] = {
    "nothing": b"",
    "a text": b"no image",
    "GIF": _gif(),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "an animation": _animation(),
    "a header of 4 * 10^18 pixels": forging.png(2**31 - 1, 2**31 - 1),
    "a header of 10^9 pixels": forging.png(31_623, 31_623),
    "a header of 8 * 10^7 pixels": forging.png(9_000, 9_000),
    "too few pixels": forging.png(400, 100),
    "a comment that unpacks to 10^8 bytes": forging.png(4, 4, forging.png_chunk(b"zTXt", b"c\0\0" + TEXT_BOMB)),
    "1,000 comments that unpack": forging.png(4, 4, *[forging.png_chunk(b"zTXt", b"c\0\0" + TEXT_BOMB)] * 1_000),
    "a profile that unpacks": forging.png(4, 4, forging.png_chunk(b"iCCP", b"c\0\0" + TEXT_BOMB)),
    "a chunk longer than the file": forging.png(4, 4)[:33] + b"\x7f\xff\xff\xfftEXt",
}

# JSON lines: the second record of an NLVR file


def _read_lines(line: bytes, folder: Path) -> object:
    root = write_nlvr(folder / "nlvr", [record()])
    file = root / "dev" / "dev.json"
    file.write_bytes(json.dumps(record()).encode() + b"\n" + line)
    return NLVRDataset("all", root, 16, 0)


def _line(**changes: Any) -> bytes:
    return json.dumps(record() | changes).encode()


LINES: dict[str, bytes] = {
    "lists within lists": b"[" * 10**6,
    "objects within objects": b'{"a":' * 10**6,
    "nesting within a record": _line()[:-1] + b', "more": ' + b"[" * 100 + b"]" * 100 + b"}",
    "a number of 10^6 digits": _line()[:-1] + b', "more": ' + b"9" * 10**6 + b"}",
    "a number above a float": _line()[:-1] + b', "more": 1e999}',
    "NaN": _line()[:-1] + b', "more": NaN}',
    "invalid UTF-8": _line().replace(b"tower", b"\xff\xfe"),
    "half a surrogate pair": _line(sentence="\ud800"),
    "a key twice": _line()[:-1] + b', "sentence": "Another."}',
    "a line of 32 MB": b'{"a": "' + b"x" * 32 * 1024**2 + b'"}',
    "the end in the middle": _line()[:50],
    "10^6 items": _line(structured_rep=[[3] * 10**6, [], []]),
    "an identifier that leads elsewhere": _line(identifier="../../../etc/passwd"),
    "an identifier that is the parent": _line(identifier=".."),
    "an absolute folder": _line(directory="/etc"),
    "a folder with a zero byte": _line(directory="0\0"),
    "an identifier of 10^5 letters": _line(identifier="x" * 10**5),
    "an identifier with a terminal's escapes": _line(identifier="\x1b[2J\x1b]0;title\x07"),
    "a label with a line break": _line(label="true\nerror: none"),
}

# Long JSON documents and the images they name


def _open(name: str, root: Path) -> object:
    """Open a dataset and read its images, remembering nothing outside of the folder."""
    with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(root / "cache")):
        return [sample.image() for sample in open_dataset(name, root=root, split="all")]


def _read_document(content: bytes, folder: Path) -> object:
    put_genome(folder, {1: ["a dog"]})
    put(folder / "region_descriptions.json", content)
    return _open("visual_genome", folder)


def _read_photograph(changes: dict[str, Any], folder: Path) -> object:
    put_karpathy(folder, [karpathy_record(1, "train", ["A dog."])])
    put(folder / "dataset_coco.json", {"images": [karpathy_record(1, "train", ["A dog."]) | changes]})
    return _open("coco", folder)


DOCUMENTS: dict[str, bytes] = {
    "lists within lists": b"[" * 10**7,
    "lists within a list that is not read": b'{"other": [' + b"[" * 10**7,
    "an object": b'{"id": 1}',
    "an entry of 64 MB": b'[{"id": "' + b"x" * 64 * 1024**2 + b'"}]',
    "blanks without end": b"[" + b" " * 10**7,
    "a number of 10^7 digits": b'[{"id": ' + b"9" * 10**7 + b"}]",
    "a compressed file": zlib.compress(bytes(10**6)),
    "the end in the middle": b'[{"id": 1, "regions": [{"region_id"',
    "an image that is not known": b'[{"id": 7, "regions": [{"region_id": 1, "phrase": "a"}]}]',
    "a phrase with a terminal's escapes for an id": b'[{"id": "\u001b[2J", "regions": []}]',
}
PHOTOGRAPHS: dict[str, dict[str, Any]] = {
    "a folder that leads elsewhere": {"filepath": ".."},
    "an absolute folder": {"filepath": "/etc", "filename": "passwd"},
    "a file that leads elsewhere": {"filename": "../../etc/passwd"},
    "a file with a zero byte": {"filename": "a\0b.jpg"},
    "a file that is a folder": {"filename": "..", "filepath": "train2014"},
    "a file of 10^5 letters": {"filename": "x" * 10**5},
    "an id above 64 bits": {"cocoid": 10**30},
}

# Tar shards


def _read_archive(content: bytes, folder: Path) -> object:
    put_genome(folder, {1: ["a dog"]})
    (folder / "VG_100K" / "1.jpg").unlink()
    put(folder / "000000.tar", content)
    return _open("visual_genome", folder)


def _member(content: bytes = b"", name: str = "1.jpg", **changes: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def _signed(block: bytes) -> bytes:
    """Return a header whose checksum is right."""
    plain = block[:148] + b" " * 8 + block[156:]
    return plain[:148] + b"%06o\0 " % sum(plain) + plain[156:]


ARCHIVES: dict[str, bytes] = {
    "no tar file": b"no tar file" * 1000,
    "a negative size": _signed(_member()[:124] + b"\xff" * 12 + _member()[136:512]) + bytes(1024),
    "a size of 2^88": _signed(_member()[:124] + b"\x80" + b"\xff" * 11 + _member()[136:512]) + bytes(1024),
    "a member longer than the file": _member(size=8**10),
    "a sparse file of 10^9 bytes": _member(type=tarfile.GNUTYPE_SPARSE, size=8**10),
    "a name of 64 MB": _member(bytes(64 * 1024**2), type=tarfile.GNUTYPE_LONGNAME),
    "a header of 64 MB": _member(bytes(64 * 1024**2), type=tarfile.XHDTYPE),
    "an image of 65 MB": _member(jpeg() + bytes(65 * 1024**2)),
    "a header of 10^9 pixels": _member(forging.png(31_623, 31_623)),
    "a link to a file of the system": _member(name="1.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a device": _member(name="1.jpg", type=tarfile.CHRTYPE),
    "an image twice": _member(jpeg()) + _member(jpeg(), name="../1.jpg"),
    "the end in the middle of an image": _member(jpeg())[:700],
}

# Captions


def _cut_caption(caption: str, folder: Path) -> object:
    return open_tokenizer().encode(caption, 64, "sample hostile")


CAPTIONS: dict[str, str] = {
    "100,000 words": "word " * 100_000,
    "a word of 500,000 letters": "x" * 500_000,
    "10^7 letters": "x " * 5_000_000,
    "100,000 accents on each of 65 letters": ("a" + "\u0301" * 10_000 + " ") * 65,
    "half a surrogate pair": "a dog \ud800",
    "nothing": "",
    "nothing but blanks and control characters": " \t\n\x00\x1b\u200b" * 10,
}

# Regions


def _collate(values: dict[str, Any], folder: Path) -> object:
    good, bad = HandMade()[0], HandMade()[2]
    assert bad.regions is not None
    regions = bad.regions
    for name, value in values.items():
        regions = _replaced(regions, name, value)
    hostile = Sample("hostile", "a dog", 100, 50, "sample", regions)
    return collate_probe([good, hostile], open_tokenizer(), 64)


def _replaced(regions: Any, name: str, value: Any) -> Any:
    changed = dict(vars(regions))
    changed[name] = torch.tensor(value) if isinstance(value, list) else value
    return type(regions)(**changed)


def _boxes(*box: float) -> dict[str, Any]:
    return {"boxes": [[0.1, 0.1, 0.2, 0.2], list(box), [0.0, 0.0, 1.0, 1.0]]}


NAN, INFINITY = float("nan"), float("inf")
REGIONS: dict[str, dict[str, Any]] = {
    "a box in pixels": _boxes(10, 20, 90, 45),
    "an inverted box": _boxes(0.5, 0.5, 0.4, 0.9),
    "an empty box": _boxes(0.5, 0.5, 0.5, 0.9),
    "a box outside": _boxes(-0.5, 0.5, 0.6, 0.9),
    "a box that is not a number": _boxes(NAN, 0.5, 0.6, 0.9),
    "an infinite box": _boxes(0, 0, INFINITY, 1),
    "a feature that is not a number": {"features": [[1.0] * 4, [1.0, NAN, 1.0, 1.0], [1.0] * 4]},
    "an infinite feature": {"features": [[1.0] * 4, [1.0] * 4, [-INFINITY] * 4]},
    "a feature above single precision": {"features": torch.full((3, 4), 1e300, dtype=torch.float64)},
    "another width": {"features": torch.ones(3, 5)},
    "fewer boxes than features": {"boxes": [[0.0, 0.0, 1.0, 1.0]]},
    "no regions": {"boxes": torch.zeros(0, 4), "features": torch.zeros(0, 4)},
    "boxes of five numbers": {"boxes": torch.rand(3, 5)},
}

# Truncation

CUT = ("last.ckpt", "old.pt", "model.safetensors", "image.png")


def _cut(kind: str, folder: Path) -> Verdict:
    """Cut a file at places all over it: it has to be refused, unless all that is read of it was still there."""
    file, encoder = folder / kind, small_encoder("bert")
    if kind == "image.png":
        file.write_bytes(forging.drawing("RGBA"))
    else:
        forging.write_checkpoint(file, encoder.state_dict(), {"model": {"name": "bert"}}, legacy=kind == "old.pt")
    whole = file.read_bytes()
    use: Use = partial(read_rgb, size=(400, 100)) if kind == "image.png" else partial(load_weights, encoder)
    answers = []
    places = [
        *range(30),
        *(len(whole) * at // OFFSETS for at in range(OFFSETS)),
        *(len(whole) - at for at in (1, 2, 9)),
    ]
    with bounded_memory():
        for place in places:
            file.write_bytes(whole[:place])
            answers.append(ask(partial(use, file), (str(file),)))
    expected = len(places) - (3 if kind == "image.png" else 0)  # the last chunk of an image says nothing
    refused = sum(answer.is_refused for answer in answers)
    return verdict(answers, [] if refused >= expected else [f"{len(places) - refused} of {len(places)} accepted"])
