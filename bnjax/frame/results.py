"""What a run measured: one `xarray.Dataset`, its options, and the facts of where it ran.

On disk it is one self-describing netCDF file, `results.nc`, that `xarray.open_dataset` opens
without bnjax. Version 3 of the format: scipy reads it in Python, so no C library parses a damaged
file.
"""

import dataclasses
import hashlib
import io
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from bnjax.errors import RunError
from bnjax.frame import disk, files
from bnjax.frame.files import plain

FORMAT: Any = "NETCDF3_64BIT"


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """A finished run, or a part of one, as claims and figures see it.

    `run["line_losses"]` is an `xarray.DataArray` with axes by name, e.g. `(norm, seed, probe_step,
    direction, step_size)`. NaN marks what was not measured because an arm had ended. A variable is
    named `<probe>_<field>`; its attributes `long_name`, `units`, `definition`, `probe` and
    `bounded` come from the declaration of the field (`bnjax.fields`).
    """

    data: xarray.Dataset
    options: Mapping[str, Any]  # plain values, as `config.json` has them
    facts: Mapping[str, Any]  # device, versions, data set, `chance_loss`, as the run recorded them

    def __repr__(self) -> str:
        """A line for each axis, and for each probe with its variables."""
        axes = "  ".join(f"{axis} {size}" for axis, size in self.data.sizes.items())
        options = "  ".join(f"{name}={value}" for name, value in self.options.items())
        variables: dict[str, list[str]] = {}
        for name, values in self.data.data_vars.items():
            probe = str(values.attrs.get("probe", ""))
            variables.setdefault(probe, []).append(str(name).removeprefix(f"{probe}_"))
        lines = {"axes": axes, "options": options, "data": " ".join(variables.pop("", ""))}
        lines |= {probe: " ".join(names) for probe, names in variables.items()}
        lines["options"] = textwrap.shorten(lines["options"], 160, placeholder=" …")
        study = str(self.facts.get("script", "")).partition(" ")[0]
        shown = [f"Run of {study}" if study else "Run"]
        for name, text in lines.items():
            indents: Any = {"initial_indent": f"  {name:10} ", "subsequent_indent": 13 * " "}
            shown += textwrap.wrap(text, 100, break_on_hyphens=False, **indents)
        return "\n".join(shown)

    def __getitem__(self, name: str) -> xarray.DataArray:
        return self.data[name]

    def __contains__(self, name: str) -> bool:
        return name in self.data

    def values(self, axis: str) -> list[Any]:
        """The values of an axis as Python values: `run.values("norm")` is `["none", "batch"]`."""
        found: list[Any] = self.data[axis].values.tolist()
        return found

    @property
    def norms(self) -> list[str]:
        return self.values("norm") if "norm" in self.data.coords else []

    @property
    def seeds(self) -> list[int]:
        return self.values("seed")

    def sel(self, **where: Any) -> "Run":
        """The run at given values of some axes, as if it had had no other.

        A factor that is an option as well (`lr`) takes its value in `options` too.

        Raises:
          KeyError: no such axis or value.

        Example:
          >>> losses = (("norm", "step"), np.eye(2, 3))
          >>> data = xarray.Dataset({"train_loss": losses}, {"norm": ["none", "batch"]})
          >>> Run(data, {}, {}).sel(norm="batch")["train_loss"].values.tolist()
          [0.0, 1.0, 0.0]
        """
        options = {name: value for name, value in where.items() if name in self.options}
        return Run(self.data.sel(where, drop=True), {**self.options, **options}, self.facts)


def late(values: xarray.DataArray, axis: str, share: float = 0.25) -> xarray.DataArray:
    """The last share of an axis of steps, at least one value: by default the last quarter."""
    return values.isel({axis: slice(-max(1, int(values.sizes[axis] * share)), None)})


def write(run: Run, folder: Path) -> None:
    """Write `results.nc` and `metrics.jsonl`, each whole or not at all.

    Results that differ, of a run whose other files were lost, are set aside.
    """
    path, content = folder / files.RESULTS, encode(run)
    if path.is_file() and files.file_digest(path) != hashlib.sha256(content).hexdigest():
        disk.set_aside(path)
    disk.write(path, content)
    rows = (json.dumps(row, allow_nan=False) + "\n" for row in metric_rows(run))
    disk.write(folder / files.METRICS, "".join(rows).encode())


def read(folder: Path) -> Run:
    """Read a run that `write` wrote.

    Args:
      folder: of the run, `OUT/<study>/<digest>`.

    Returns:
      The run with all its arms and seeds.

    Raises:
      RunError: a file is missing or damaged.
    """
    path = folder / files.RESULTS
    try:
        return parse(files.read(path, files.LARGEST_ARRAYS))
    except Exception as error:  # a damaged file raises errors of many kinds
        raise RunError(
            f"{path} does not hold results ({error}): restore it, or begin anew with --fresh"
        ) from error


def encode(run: Run) -> bytes:
    """A run as the bytes of a `results.nc`."""
    attrs = {"options": json.dumps(dict(run.options)), "facts": json.dumps(dict(run.facts))}
    data = run.data.drop_encoding().assign_attrs(attrs)  # of a part of a run it would not fit
    return bytes(data.to_netcdf(engine="scipy", format=FORMAT))


def parse(content: bytes) -> Run:
    """The run in the bytes of a `results.nc`; those of another file raise errors of many kinds."""
    with xarray.open_dataset(io.BytesIO(content), engine="scipy") as opened:
        return unpack(opened.load())


def unpack(data: xarray.Dataset) -> Run:
    """The run in a `results.nc` that was opened with `xarray.open_dataset`."""
    data = data.copy()
    options, facts = (files.parse_json(data.attrs.pop(name)) for name in ("options", "facts"))
    return Run(data, options, facts)


def metric_rows(run: Run) -> Iterator[Mapping[str, Any]]:
    """A row for each step and each evaluation of each arm and seed, in the order of the run."""
    lead = [str(axis) for axis in run["train_loss"].dims[:-1]]
    for index in np.ndindex(*(run.data.sizes[axis] for axis in lead)):
        here = run.data.isel(dict(zip(lead, index, strict=True)))
        where = {axis: here[axis].item() for axis in lead}
        for probe, axis in (("train", "step"), ("test", "test_step")):
            columns = {
                str(name): column.values.astype(float)
                for name, column in here.data_vars.items()
                if column.attrs.get("probe") == probe
            }
            for row, step in enumerate(here[axis].values.tolist()):
                found = {name: column[row] for name, column in columns.items()}
                if not all(map(np.isnan, found.values())):
                    yield plain({**where, "step": step, **found})
