"""Data sets as uint8 arrays on the device, and batches drawn from them by index."""

from bnjax.data.batches import Pipeline, epoch_order, make_pipeline
from bnjax.data.dataset import Batch, Dataset, Split
from bnjax.data.sources import DATASETS, load

__all__ = [
    "DATASETS",
    "Batch",
    "Dataset",
    "Pipeline",
    "Split",
    "epoch_order",
    "load",
    "make_pipeline",
]
