"""What a run measured: named arrays with named axes, and nothing of how they were computed."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnjax.errors import RunError
from bnjax.frame import bounded, files
from bnjax.frame import folder as folders

DIMS = "dims"  # the entry of the archive that holds the axes' names of each array, as JSON


class Results(NamedTuple):
    """Arrays, the names of their axes, the axes' values, and the run's configuration.

    `arrays["line.losses"]` has the axes `dims["line.losses"]`, e.g. `("norm", "seed",
    "probe_step", "direction", "step_size")`, with values `axes["norm"]` and so on. NaN marks what
    was not measured because an arm had ended.
    """

    arrays: dict[str, np.ndarray]
    dims: dict[str, tuple[str, ...]]
    axes: dict[str, np.ndarray]
    config: dict[str, Any]
    facts: dict[str, Any]  # device, versions, data set, as the run recorded them

    def select(self, name: str, **where: Any) -> np.ndarray:
        """The array `name` at given values of some axes, the other axes in their order.

        Args:
          name: `<group>.<field>`, e.g. `line.losses`; all are in `dims`.
          where: values of axes, e.g. `norm="batch", seed=0`.

        Returns:
          The axes `dims[name]` without those of `where`.

        Raises:
          KeyError: no such array, axis or value.

        Example:
          >>> axes = {"norm": np.array(["none", "batch"]), "step": np.arange(3)}
          >>> dims = {"train.loss": ("norm", "step")}
          >>> found = Results({"train.loss": np.eye(2, 3)}, dims, axes, {}, {})
          >>> found.select("train.loss", norm="batch").tolist()
          [0.0, 1.0, 0.0]
        """
        index: list[Any] = [slice(None)] * len(self.dims[name])
        for axis, value in where.items():
            found = np.flatnonzero(self.axes[axis] == value)
            if not len(found):
                raise KeyError(f"{axis}={value!r} is not among {list(self.axes[axis])}")
            index[self.dims[name].index(axis)] = found[0]
        return self.arrays[name][tuple(index)]

    def at(self, **where: Any) -> "Results":
        """The results at given values of some axes, as if the run had had no other.

        A factor that is an option as well (`lr`) takes its value in `config` too.

        Args:
          where: values of axes, as in `select`.

        Returns:
          `Results` without those axes.

        Raises:
          KeyError: no such axis or value.
        """
        arrays, dims = {}, {}
        for name, axes in self.dims.items():
            here = {axis: value for axis, value in where.items() if axis in axes}
            arrays[name] = self.select(name, **here)
            dims[name] = tuple(axis for axis in axes if axis not in here)
        rest = {axis: values for axis, values in self.axes.items() if axis not in where}
        options = {name: value for name, value in where.items() if name in self.config}
        return Results(arrays, dims, rest, {**self.config, **options}, self.facts)


def write(results: Results, folder: Path) -> None:
    """Write `probes.npz` and `metrics.jsonl`."""
    archive = {f"axis.{axis}": values for axis, values in results.axes.items()}
    archive |= results.arrays
    archive[DIMS] = np.array(json.dumps(results.dims))
    files.write_npz(folder / folders.PROBES, archive)
    files.write_jsonl(folder / folders.METRICS, metric_rows(results))


def read(folder: Path) -> Results:
    """Read what `write` wrote, and the run's configuration.

    Args:
      folder: of a finished run, `OUT/<experiment>/<digest>`.

    Returns:
      `Results`; float arrays, NaN where an arm had ended.

    Raises:
      RunError: a file is missing or damaged.
    """
    archive = files.read_npz(folder / folders.PROBES)
    try:
        dims = read_dims(archive.pop(DIMS))
        axes = {key[5:]: archive.pop(key) for key in list(archive) if key.startswith("axis.")}
        check_shapes(archive, dims, axes)
    except (KeyError, ValueError) as error:
        raise RunError(
            f"{folder / folders.PROBES} does not hold results ({error}): begin anew with --fresh"
        ) from error
    record = folders.read_config(folder)
    return Results(archive, dims, axes, record.config, record.fingerprint)


def read_dims(entry: np.ndarray) -> dict[str, tuple[str, ...]]:
    """The axes' names of each array, from the archive's own text.

    Raises:
      ValueError: it is no such text.
    """
    found = bounded.parse_json(str(entry))
    if not isinstance(found, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in found.values()
    ):
        raise ValueError(f"its {DIMS} do not name axes")
    return {name: tuple(axes) for name, axes in found.items()}


def check_shapes(
    arrays: Mapping[str, np.ndarray],
    dims: Mapping[str, tuple[str, ...]],
    axes: Mapping[str, np.ndarray],
) -> None:
    """Refuse arrays that do not have the axes that they are said to have."""
    if set(arrays) != set(dims):
        raise ValueError(f"{' '.join(sorted(set(arrays) ^ set(dims)))[:200]} without array or axes")
    if any(values.ndim != 1 for values in axes.values()):
        raise ValueError("an axis is not a list of values")
    for name, values in arrays.items():
        expected = tuple(len(axes[axis]) for axis in dims[name])
        if values.shape != expected:
            raise ValueError(f"{name} has shape {values.shape}, its axes {expected}")


def metric_rows(results: Results) -> Iterator[Mapping[str, Any]]:
    """One row for each step and each evaluation of each arm and seed, in the order of the run."""
    outer = results.dims["train.loss"][:-1]
    sizes = [len(results.axes[axis]) for axis in outer]
    for index in np.ndindex(*sizes):
        where = {axis: results.axes[axis][i].item() for axis, i in zip(outer, index, strict=True)}
        for group, axis in (("train", "step"), ("test", "test_step")):
            columns = {
                name.removeprefix(f"{group}."): values[index]
                for name, values in results.arrays.items()
                if name.startswith(f"{group}.")
            }
            yield from (
                {**where, "step": int(step)}
                | {f"{group}_{name}": float(column[row]) for name, column in columns.items()}
                for row, step in enumerate(results.axes[axis])
                if not all(np.isnan(column[row]) for column in columns.values())
            )


def last_rows(count: int, parts: int) -> slice:
    """The last of so many equal parts of a run's rows, at least one row.

    Example:
      >>> list(range(8))[last_rows(8, 4)], list(range(3))[last_rows(3, 4)]
      ([6, 7], [2])
    """
    return slice(-max(1, count // parts), None)
