"""Whether the regions of a dataset are like those that weights were trained on, by the numbers themselves.

A name in a file may be missing or wrong; numbers are not. Another extractor, or the same one with its columns in
another order, has another profile of column means; boxes of another convention lie elsewhere. Thresholds stand between
what the same extractor gives on other images and what others give (`tests/doctor/test_features.py`). Boxes with their
axes swapped (y1, x1, y2, x2) are not told where regions lie alike along both, as they do in most data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from vlp.data.dataset import VLDataset
from vlp.data.region_checks import check_shapes, check_values
from vlp.data.sample import Regions, Sample
from vlp.data.statistics import NUM_SPREAD, RegionStatistics, region_statistics, spread
from vlp.doctor.findings import FAILED, NOTE, OK, Finding

STATISTICS = "region_statistics"
"""Key of a checkpoint's record."""

ADVICE = "give the features of the extractor the weights were trained on, columns in its order, boxes as x1, y1, x2, y2"
UNTOLD = "make sure: no error tells wrong ones"

CORRELATION = 0.8, 0.5
"""Of column means: from here on they are alike, and below they are others. Of random orders of the 64 columns of scenes
about one in 8,300 passes the second; the same extractor on other images gave 0.97 and more, of another kind 0.6."""
SIZE = math.log(1.5), math.log(2)
"""Of a feature, as the logarithm of its ratio to training: up to here alike, and above another scale."""
BOXES = 0.5, 1.0
"""Of box corners, as the largest distance of means in standard deviations: width and height in place of the second
corner are 1.6 off."""
CLEAR = 3.0
"""How far, in sampling variances, the column means have to lie apart for their profile to tell anything."""


def examine_features(record: Mapping[str, Any], dataset: VLDataset) -> Finding:
    """Return whether the features of ``dataset`` are those that weights with this ``record`` were trained on.

    Looks at a number of samples that does not grow with the dataset.
    """
    written = record.get(STATISTICS)
    try:
        trained = None if written is None else RegionStatistics.from_record(written, f"key {STATISTICS}")
    except ValueError as error:
        return Finding(
            FAILED, "features", f"the record of the weights is damaged: {error}", "take another copy of them"
        )
    try:
        found = region_statistics(_checked(dataset[place] for place in spread(len(dataset), NUM_SPREAD)))
    except ValueError as error:
        return _mismatch(str(error))
    if trained and found:
        return compared(trained, found)
    if record.get("features") and dataset.fingerprint:
        return Finding(OK, "features", "those of the dataset are what the weights were trained on, by name")
    silent = "the weights do not" if dataset.fingerprint else f"dataset {dataset.name} does not"
    plausible = "; boxes and numbers are plausible" if found else ""
    return Finding(NOTE, "features", f"{silent} say which they are{plausible}", UNTOLD)


def compared(trained: RegionStatistics, found: RegionStatistics) -> Finding:
    """Return a finding: ok where ``found`` is like ``trained``, failed where it is of something else.

    What lies between is noted, and so are columns whose means are too close to tell one order from another.
    """
    ours, theirs = np.array(trained.feature_means), np.array(found.feature_means)
    if ours.shape != theirs.shape:
        return _mismatch(f"width {len(theirs)}, {len(ours)} in training")
    correlation, boxes = _correlation(ours, theirs), _distance(trained, found)
    size = _size(found) / max(_size(trained), 1e-30)
    is_clear = ours.var() * min(trained.samples, found.samples) >= CLEAR * trained.feature_sd**2
    grades = [_grade(abs(math.log(size)) if size > 0 else math.inf, *SIZE), _grade(boxes, *BOXES)]
    grades.append(_grade(-correlation, *(-bound for bound in CORRELATION)) if is_clear else NOTE)
    told = (
        f"column means correlate {correlation:.2f} with those of training, size {size:.2f} of it, "
        f"boxes {boxes:.2f} standard deviations off"
    )
    if FAILED in grades:
        return _mismatch(told)
    if not is_clear:
        return Finding(NOTE, "features", f"{found.samples} samples do not tell one column from another; {told}", UNTOLD)
    if NOTE in grades:
        return Finding(
            NOTE, "features", f"unlike those of training, by their numbers: {told}", "other images? " + UNTOLD
        )
    return Finding(OK, "features", f"like those of training, by their numbers: {told}")


def _mismatch(why: str) -> Finding:
    return Finding(FAILED, "features", f"features do not match weights: {why}", ADVICE)


def _grade(value: float, alike: float, other: float) -> str:
    if value <= alike:
        return OK
    return NOTE if value <= other else FAILED


def _correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return Pearson's correlation; 0 where one side is constant."""
    product = ours.std() * theirs.std()
    return float(((ours - ours.mean()) * (theirs - theirs.mean())).mean() / product) if product > 0 else 0.0


def _size(statistics: RegionStatistics) -> float:
    """Return the root mean square of a feature's entries."""
    return math.sqrt(np.square(statistics.feature_means).mean() + statistics.feature_sd**2)


def _distance(trained: RegionStatistics, found: RegionStatistics) -> float:
    off = np.abs(np.subtract(found.box_means, trained.box_means))
    return float((off / np.maximum(trained.box_sds, 0.01)).max())


def _checked(samples: Iterable[Sample]) -> Iterator[Regions]:
    """Yield the regions of samples that no model would refuse.

    Raises:
        ValueError: naming the sample that one would.
    """
    for sample in samples:
        if (regions := sample.regions) is not None:
            check_shapes([regions], [sample])
            check_values(
                regions.features[None], regions.boxes[None], torch.ones(1, len(regions), dtype=torch.bool), [sample]
            )
            yield regions
