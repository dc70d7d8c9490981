"""Datasets: one example type, one way to open them."""

from vlp.data.dataset import VLDataset, open_dataset
from vlp.data.sample import AnnotatedObject, Batch, Parse, Phrase, Regions, Relation, Sample

__all__ = [
    "AnnotatedObject",
    "Batch",
    "Parse",
    "Phrase",
    "Regions",
    "Relation",
    "Sample",
    "VLDataset",
    "open_dataset",
]
