"""What every dataset is (`VLDataset`), and how one is opened by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from vlp.configs import instantiate, option_names, read_option, resolve
from vlp.data.sample import ANNOTATIONS, Regions, Sample

SPLITS = ("train", "val", "test", "all")
"""The values of ``split``; ``all`` is every sample there is."""

LOADER_KEYS = frozenset({"name", "files", "num_workers", "batch_size"})
"""Keys of a dataset's config that the loader and the cell store read, not its class."""

TRAIN_SHARE, VAL_SHARE = 0.8, 0.1

DRAWS = 100
"""In search of a sample of another image."""


class VLDataset(Dataset[Sample]):
    """A map-style dataset of `Sample`, one a (caption, image) pair.

    A subclass gives ``__len__`` and ``__getitem__``, sets the attributes, and overrides the other methods where it can
    answer without building the whole sample.

    Attributes:
        name: the option of the config group ``dataset``.
        split: train, val, test or all.
        annotations: what its samples have, out of `vlp.data.sample.ANNOTATIONS`.
        feature_width: columns of ``regions.features``, or None without regions.
        num_classes: columns of ``regions.class_probs``, background included, or None.
        class_names: the classes behind ``regions.class_ids``, without background.
        fingerprint: what made the features (extractor, dimensions, box order, normalisation), as plain data.
        truth_annotated: whether the files say which captions are true of their images, so that no mismatched pair is to
            be made by replacing one half.
    """

    name: str = ""
    split: str = "train"
    annotations: frozenset[str] = frozenset()
    feature_width: int | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    fingerprint: Mapping[str, Any] = {}
    truth_annotated: bool = False

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def caption(self, index: int) -> str:
        """Return a sample's caption, without drawing or reading its image where the dataset can."""
        return self[index].caption

    def regions(self, index: int) -> Regions | None:
        """Return a sample's regions, without its annotations where the dataset can."""
        return self[index].regions

    def without_regions(self, index: int) -> Sample:
        """Return a sample whose regions may be missing, where the dataset need not find them."""
        return self[index]

    def without_image(self, index: int) -> Sample:
        """Return a sample of which only ids, caption and annotated phrases count, where its image need not be opened.

        Its size may be 0 x 0.
        """
        return self.without_regions(index)

    def image_id(self, index: int) -> str:
        """Return a sample's ``image_id``, without building it where the dataset can."""
        return self.without_image(index).image_id

    def is_matched(self, index: int) -> bool:
        """Return a sample's ``is_matched``, without building it where the dataset can."""
        return not self.truth_annotated or self.without_regions(index).is_matched

    def images(self) -> NDArray[np.int64]:
        """Return (N,) a number for the image of each sample, -1 where the data say that its caption is not true."""
        numbers: dict[str, int] = {}
        places = range(len(self))
        found = (numbers.setdefault(self.image_id(i), len(numbers)) if self.is_matched(i) else -1 for i in places)
        return np.fromiter(found, np.int64, len(self))

    def image_key(self, index: int) -> str:
        """Return what splits and negatives go by: samples with one key share an image or a sentence group."""
        return self.image_id(index)


def other_image(dataset: VLDataset, index: int, generator: np.random.Generator, whose: str) -> int:
    """Return a sample whose image (or sentence group) is another than that of sample ``index``, each equally likely.

    Raises:
        ValueError: if no draw finds one, which means that the data hold one image; names ``whose``.
    """
    own = dataset.image_key(index)
    for _ in range(DRAWS):
        other = int(generator.integers(len(dataset)))
        if dataset.image_key(other) != own:
            return other
    raise ValueError(f"{dataset.name} split={dataset.split}: no other image than {whose}")


def build_dataset(config: Mapping[str, Any], **options: Any) -> VLDataset:
    """Build the dataset that ``config`` describes (a resolved ``dataset`` tree); ``options`` win over its keys.

    Raises:
        ValueError: if the config's target is not allowed or does not take these options.
    """
    arguments = {key: value for key, value in config.items() if key not in LOADER_KEYS}
    dataset: VLDataset = instantiate(arguments, _key_="dataset", **options)
    return dataset


def open_dataset(name: str, root: str | Path | None = None, split: str = "train", **options: Any) -> VLDataset:
    """Open a dataset by the name of its config, ``conf/dataset/NAME.yaml``.

    Args:
        name: an option of the config group ``dataset``.
        root: folder of the official files; None takes ``paths.NAME`` of ``conf/paths``.
        split: train, val, test or all.
        options: other keys of the config.

    Raises:
        ValueError: if there is no such dataset, split or option, or the files are not as they should be.
    """
    config = read_option("dataset", name)
    if root is not None:
        config["root"] = str(root)
    own_paths = read_option("paths", "local") if "local" in option_names("paths") else {}
    paths = {"paths": read_option("paths", "default"), "local_paths": own_paths}
    return build_dataset(resolve({**paths, "dataset": {**config, **options, "split": split}})["dataset"])


def require(dataset: VLDataset, needs: Iterable[str], name: str, kind: str = "probe") -> None:
    """Check that a dataset has what a probe or a model needs.

    Args:
        dataset: whose annotations are looked at.
        needs: annotations.
        name: who needs them, for errors.
        kind: ``probe`` or ``model``.

    Raises:
        ValueError: naming who needs what, the dataset and what is missing, or a need that is no annotation at all.
    """
    needs = frozenset(needs)
    if unknown := needs - ANNOTATIONS:
        raise ValueError(f"{kind} {name} needs {_list(unknown)}, which no dataset has; there is {_list(ANNOTATIONS)}")
    if missing := needs - dataset.annotations:
        has = _list(dataset.annotations)
        raise ValueError(f"{kind} {name} needs {_list(missing)}, which dataset {dataset.name} lacks; it has {has}")


def check_split(split: str, name: str) -> None:
    """Check the name of a split.

    Raises:
        ValueError: if it is none of `SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"dataset {name} has no split {split!r}; there is {', '.join(SPLITS)}")


def check_root(root: str | Path | None, name: str) -> Path:
    """Return the folder of a dataset's official files.

    Raises:
        ValueError: if none was given or it does not exist, saying how to give it.
    """
    how = f"give dataset.root=DIR, or set {name} in conf/paths/local.yaml"
    if root is None:
        raise ValueError(f"dataset {name} reads official files and has no folder: {how}")
    if not Path(root).is_dir():
        raise ValueError(f"dataset {name}: folder {root} does not exist; {how}")
    return Path(root)


def hashed_split(key: str) -> str:
    """Return the part (train, val or test; 80/10/10) that everything with this key belongs to, the same for ever."""
    share = int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big") / 2**64
    if share < TRAIN_SHARE:
        return "train"
    return "val" if share < TRAIN_SHARE + VAL_SHARE else "test"


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
