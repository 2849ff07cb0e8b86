"""Kept runs of every study with arrays that nobody wishes for: zeros, NaN, one step, …"""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray

from bnjax.frame import results
from bnjax.frame.results import Run

ARRAYS = Path(__file__).parents[1] / "figures" / "results"
STEPS = ("step", "test_step", "probe_step")


def kept(study: str) -> Run:
    """A small run of a study, three seeds or more."""
    return results.parse(gzip.decompress((ARRAYS / f"{study}.nc.gz").read_bytes()))


def measured(data: xarray.Dataset) -> list[str]:
    """What may have any value: all floats but the flags."""
    flags = ("complete", "train_finite")
    return [n for n, v in data.data_vars.items() if v.dtype.kind == "f" and n not in flags]


def filled(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]):
    """A kind that changes the values of every variable."""

    def make(run: Run) -> Run:
        data, generator = run.data.copy(deep=True), np.random.default_rng(0)
        for name in measured(data):
            values = data[name].values
            with np.errstate(all="ignore"):
                data[name].values[...] = np.broadcast_to(change(values, generator), values.shape)
        return Run(data, run.options, run.facts)

    return make


def some(value: float, share: float = 0.3):
    """A kind in which a share of all values is another one."""
    return filled(lambda x, rng: np.where(rng.uniform(size=x.shape) < share, value, x))


def first_layer(value: float):
    """A kind in which the first place of each inner axis has this value in every arm and step."""

    def make(run: Run) -> Run:
        data = run.data.copy(deep=True)
        outer = {*run["train_loss"].dims, *STEPS}
        for name in measured(data):
            for axis in {*data[name].dims} - outer:
                data[name][{axis: 0}] = value
        return Run(data, run.options, run.facts)

    return make


def picked(**places: slice):
    """A kind of which only some places of some axes are there; the options follow."""

    def make(run: Run) -> Run:
        factor = str(run["train_loss"].dims[0])
        own = {factor if axis == "factor" else axis: place for axis, place in places.items()}
        data = run.data.isel({axis: own[axis] for axis in own if axis in run.data.dims})
        options = dict(run.options)
        if "norm" in data.dims:
            options["norms"] = data["norm"].values.tolist()
        if "step" in own:
            options["steps"] = data.sizes["step"]
        return Run(data, options, run.facts)

    return make


def ended(arms: slice, step: int):
    """A kind in which some arms diverge at a step, after which nothing is measured."""

    def make(run: Run) -> Run:
        data = run.data.copy(deep=True)
        factor = str(run["train_loss"].dims[0])
        finite, last = data["train_finite"], min(step, data.sizes["step"] - 1)
        for name in measured(data):
            values = data[name]
            axes = [axis for axis in STEPS if axis in values.dims]
            where = {factor: arms} if factor in values.dims else {}
            if axes:
                after = np.flatnonzero(data[axes[0]].values >= step)
                values[{**where, axes[0]: after}] = np.nan
            else:  # after training
                values[where] = np.nan
        finite[{factor: arms, "step": slice(last + 1, None)}] = np.nan
        finite[{factor: arms, "step": last}] = 0
        return Run(data, run.options, run.facts)

    return make


ALL, FIRST, LAST = slice(None), slice(0, 1), slice(-1, None)
KINDS: dict[str, Callable[[Run], Run]] = {
    "zeros": filled(lambda x, rng: np.zeros(())),
    "some zeros": some(0.0),
    "zeros in the first layer": first_layer(0.0),
    "NaN": filled(lambda x, rng: np.full((), np.nan)),
    "some NaN": some(np.nan),
    "inf": filled(lambda x, rng: np.full((), np.inf)),
    "some inf": some(np.inf),
    "negative": filled(lambda x, rng: -abs(x)),
    "equal": filled(lambda x, rng: np.ones(())),
    "huge": filled(lambda x, rng: 1e30 * x),
    "tiny": filled(lambda x, rng: 1e-42 * x),
    "one step": picked(step=FIRST, probe_step=FIRST, test_step=FIRST),
    "the first arm": picked(factor=FIRST),
    "the last arm": picked(factor=LAST),
    "one seed": picked(seed=FIRST),
    "a diverged arm": ended(LAST, 5),
    "all arms diverge at once": ended(ALL, 0),
}
