"""Fewer numbers for a page that has to stay small: notes say which are left out."""

import math
from collections.abc import Sequence

import numpy as np
import xarray

from bnjax.frame.messages import printable
from bnjax.frame.results import Run
from bnjax.report import curves

CURVE = "curve"  # the first axis of what is drawn: arms and seeds, in the order of the run
MOST_NUMBERS = 1_500_000  # of one run, but for its training curves
MOST_POINTS = 250_000  # of the training curves of one field
LEAST_POINTS, USUAL_POINTS = 400, 4000  # of one training curve
FEW_PROBES = 200  # probes are thinned before other axes, down to so many


def drawable(run: Run) -> list[str]:
    """The variables of numbers that have the curves' axes first and at least one of their own.

    Those of one probe stand together: a file of results sorts its variables by their shapes.
    """
    lead = curves.leading(run)
    found = [
        str(name)
        for name, values in run.data.data_vars.items()
        if lead
        and values.dims[: len(lead)] == lead
        and len(values.dims) > len(lead)
        and values.dtype.kind in "biuf"
        and values.size
        and name != "train_finite"
    ]
    probes = [str(run[name].attrs.get("probe")) for name in found]
    return sorted(found, key=lambda name: probes.index(str(run[name].attrs.get("probe"))))


def thin(run: Run) -> tuple[xarray.Dataset, list[str]]:
    """The numbers that charts draw, `(curve, …)`, and notes on those left out.

    Training curves of many steps become the least and the greatest of equal blocks of steps, along
    an axis `block`, so that no spike is lost. Of other axes every second, third, … value is kept.
    """
    names, notes = drawable(run), []
    lead = curves.leading(run)
    data = run.data[names]
    if lead and names:
        data = data.stack({CURVE: lead}, create_index=False).drop_vars(lead, errors="ignore")
        data = data.transpose(CURVE, ...).isel({CURVE: slice(curves.MOST)})
    by_step = [name for name in names if data[name].dims == (CURVE, "step")]
    others = [name for name in names if name not in by_step]
    if by_step:
        points = min(max(MOST_POINTS // data.sizes[CURVE], LEAST_POINTS), USUAL_POINTS)
        if data.sizes["step"] > points:
            block = -(-2 * data.sizes["step"] // points)
            found = {
                name: ((CURVE, "block"), extremes(data[name].values, block), data[name].attrs)
                for name in by_step
            }
            steps = block_steps(data["step"].values, block)
            data = data.assign(found).assign_coords(block=("block", steps, data["step"].attrs))
            notes.append(f"training curves: the least and the greatest of every {block} steps")
    for axis, stride in strides(data, others).items():
        data = data.isel({axis: slice(None, None, stride)})
        what = "probes" if axis == "probe_step" else f"values of {curves.axis_label(run, axis)}"
        notes.append(f"one of every {stride} {what}")
    total = 0
    for name in others:
        total += data[name].size
        if total > MOST_NUMBERS:
            notes.append(f"without {printable(data[name].attrs.get('long_name') or name, 200)}")
            data = data.drop_vars(name)
    return data, notes


def strides(data: xarray.Dataset, names: Sequence[str]) -> dict[str, int]:
    """Strides of axes that leave at most `MOST_NUMBERS`, where strides alone can do it."""
    found: dict[str, int] = {}
    sizes = {name: dict(data[name].sizes) for name in names}

    def lengths(name: str) -> dict[str, int]:
        return {str(axis): -(-n // found.get(str(axis), 1)) for axis, n in sizes[name].items()}

    def size(name: str) -> int:
        return math.prod(lengths(name).values())

    while names and sum(map(size, names)) > MOST_NUMBERS:
        own = lengths(max(names, key=size))
        del own[CURVE]
        axis = max(own, key=lambda name: own[name])
        if own.get("probe_step", 0) > FEW_PROBES:
            axis = "probe_step"
        if own[axis] < 10:
            break
        found[axis] = found.get(axis, 1) + 1
    return found


def extremes(values: np.ndarray, block: int) -> np.ndarray:
    """The least and the greatest of each block of the last axis, in the order of their steps."""
    length = values.shape[-1]
    padded = np.full((*values.shape[:-1], -(-length // block) * block), np.nan)
    padded[..., :length] = values
    blocks = padded.reshape(*values.shape[:-1], -1, block)
    first = np.where(np.isnan(blocks), np.inf, blocks).argmin(-1)
    last = np.where(np.isnan(blocks), -np.inf, blocks).argmax(-1)
    low, high = np.fmin.reduce(blocks, axis=-1), np.fmax.reduce(blocks, axis=-1)
    rising = first <= last
    pairs = np.stack([np.where(rising, low, high), np.where(rising, high, low)], axis=-1)
    return pairs.reshape(*values.shape[:-1], -1)


def block_steps(steps: np.ndarray, block: int) -> np.ndarray:
    """The steps at which the two values of each block are drawn: its first and its middle one."""
    starts = steps[::block].astype(float)
    middles = [steps[min(i + block // 2, len(steps) - 1)] for i in range(0, len(steps), block)]
    return np.stack([starts, np.array(middles, float)], axis=-1).ravel()
