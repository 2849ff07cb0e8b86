"""Fewer numbers for a page that has to stay small: which are left out is said, none is changed."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bnjax.frame.results import Run as Results
from bnjax.report import curves, quantities

MOST_NUMBERS = 1_500_000  # of one run, but for its training curves
MOST_POINTS = 250_000  # of the training curves of one field
LEAST_POINTS, USUAL_POINTS = 400, 4000  # of one training curve
FEW_PROBES = 200  # probes are thinned before other axes, down to so many


class Thinned(NamedTuple):
    """What is left: arrays as `[curve, …]`, the values of their axes, and what was left out."""

    arrays: Mapping[str, np.ndarray]
    dims: Mapping[str, tuple[str, ...]]  # after the axis of curves
    axes: Mapping[str, np.ndarray]
    notes: Sequence[str]


def thin(results: Results) -> Thinned:
    """The numbers of a run that its charts draw.

    Training curves of many steps become the least and the greatest of equal blocks of steps, so
    that no spike is lost; of other axes every second, third, … value is kept.

    Args:
      results: of a run.
    """
    lead = len(curves.outer(results))
    found = {name: dims for name, dims in curves.arrays(results) if dims and name != "train.finite"}
    rows = {
        name: results.arrays[name].reshape(-1, *results.arrays[name].shape[lead:])[: curves.MOST]
        for name in found
    }
    notes = []
    axes = dict(results.axes)
    by_step = [name for name, dims in found.items() if dims == ("step",)]
    others = [name for name in found if name not in by_step]
    if by_step:
        count = rows[by_step[0]].shape[0]
        points = min(max(MOST_POINTS // count, LEAST_POINTS), USUAL_POINTS)
        length = len(axes["step"])
        if length > points:
            block = -(-2 * length // points)
            for name in by_step:
                rows[name] = extremes(rows[name], block)
            axes["step"] = block_steps(axes["step"], block)
            notes.append(f"training curves: the least and the greatest of every {block} steps")
    strides = choose({name: rows[name].shape[1:] for name in others}, found, others, rows)
    for name in others:
        index = tuple(slice(None, None, strides.get(axis, 1)) for axis in found[name])
        rows[name] = rows[name][:, *index]
    for axis, stride in strides.items():
        axes[axis] = axes[axis][::stride]
        what = "probes" if axis == "probe_step" else f"values of {quantities.axis(axis)}"
        notes.append(f"one of every {stride} {what}")
    kept, total = {}, 0
    for name in found:
        total += rows[name].size * (name not in by_step)
        if total > MOST_NUMBERS:
            notes.append(f"without {quantities.quantity(name).label}")
        else:
            kept[name] = rows[name]
    return Thinned(kept, {name: found[name] for name in kept}, axes, notes)


def choose(
    shapes: Mapping[str, tuple[int, ...]],
    dims: Mapping[str, tuple[str, ...]],
    names: Sequence[str],
    rows: Mapping[str, np.ndarray],
) -> dict[str, int]:
    """Strides of axes that leave at most `MOST_NUMBERS`, where strides alone can do it."""
    strides: dict[str, int] = {}

    def length(name: str, place: int) -> int:
        return -(-shapes[name][place] // strides.get(dims[name][place], 1))

    def size(name: str) -> int:
        return rows[name].shape[0] * math.prod(length(name, i) for i in range(len(dims[name])))

    while names and sum(map(size, names)) > MOST_NUMBERS:
        largest = max(names, key=size)
        lengths = {axis: length(largest, i) for i, axis in enumerate(dims[largest])}
        axis = max(lengths, key=lambda name: lengths[name])
        if lengths.get("probe_step", 0) > FEW_PROBES:
            axis = "probe_step"
        if lengths[axis] < 10:
            break
        strides[axis] = strides.get(axis, 1) + 1
    return strides


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
