"""Published curves, read from a table that someone took off a paper's figures."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from bnjax.errors import UsageError
from bnjax.frame import files

COLUMNS = ("panel", "series", "step", "low", "high")
# The names of the series and the normalisers that they stand for.
NORMS = {
    "standard": "none",
    "batchnorm": "batch",
    "l1": "l1",
    "l2": "l2",
    "linf": "linf",
    "noisy_batchnorm": "noisy_batch",
}
MAX_BYTES = 50 * 2**20


class Curve(NamedTuple):
    """A band over training steps (or a line, where low = high); the first step is −1 or 0."""

    steps: np.ndarray
    low: np.ndarray
    high: np.ndarray


Published: TypeAlias = Mapping[tuple[str, str], Curve]  # by panel and normaliser


def read_published(path: Path) -> Published:
    """Read a CSV file with the columns `panel,series,step,low,high`.

    Args:
      path: the file.

    Returns:
      Curves by panel (`fig4a_vgg_loss`) and normaliser (`none`, `batch`, `l1`, …); a series of
      another name keeps its own.

    Raises:
      UsageError: unreadable, too large, no curve, other columns, a value that is not a number, or a
        lower edge above the upper one.

    Example:
      >>> import tempfile
      >>> folder = tempfile.TemporaryDirectory()
      >>> path = Path(folder.name) / "curves.csv"
      >>> header, row = "panel,series,step,low,high", "fig5b,standard,0,1.0,2.0"
      >>> _ = path.write_text(chr(10).join((header, row)))
      >>> read_published(path)["fig5b", "none"].high.tolist()
      [2.0]
      >>> folder.cleanup()
    """
    points: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    try:
        with files.opened(path, MAX_BYTES, follow=True) as file:
            reader = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
            columns = tuple(reader.fieldnames or ())
            if columns != COLUMNS:
                raise UsageError(
                    f"--published {path} has the columns {','.join(columns)[:200]}; "
                    f"they must be {','.join(COLUMNS)}"
                )
            for row in reader:
                values = (float(row["step"]), float(row["low"]), float(row["high"]))
                if not all(map(math.isfinite, values)):
                    raise ValueError(f"{values} is not finite")
                if values[1] > values[2]:
                    raise ValueError(
                        f"at step {values[0]:g} of {row['panel']}, {row['series']}, low "
                        f"{values[1]:g} is above high {values[2]:g}"
                    )
                key = (row["panel"], NORMS.get(row["series"], row["series"]))
                points.setdefault(key, []).append(values)
    except UsageError:
        raise
    except (OSError, ValueError, TypeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--published {path} cannot be read ({reason}): give a CSV") from error
    if not points:
        raise UsageError(f"--published {path} has no row below its header: give a CSV of curves")
    return {key: Curve(*np.array(sorted(rows)).T) for key, rows in points.items()}


def complaints(
    published: Published, compared: Mapping[tuple[str, str], bool], study: str
) -> list[str]:
    """What of a table of curves fits nothing that a study drew, a line each.

    Args:
      published: the curves.
      compared: the panels and normalisers that its figures looked for, and whether each was there.
      study: its name.

    Example:
      >>> line = Curve(*np.zeros((3, 1)))
      >>> complaints({("fig4a", "bn"): line}, {("fig4a", "batch"): False}, "landscape")
      ['--published: landscape looks for fig4a with batchnorm, and drew no curve: it has fig4a bn']
      >>> complaints({("fig4a", "batch"): line}, {("fig4a", "batch"): True}, "landscape")
      []
    """
    if not published:
        return []
    names = {norm: name for name, norm in NORMS.items()}
    panels, norms = (list(dict.fromkeys(key[i] for key in compared)) for i in (0, 1))
    looked = f"{' '.join(panels)} with {' '.join(names.get(norm, norm) for norm in norms)}"
    if not any(compared.values()):
        known = [f"{panel} {names.get(norm, norm)}" for panel, norm in published]
        here = ", ".join(known[:4]) + (f" and {len(known) - 4} more" if len(known) > 4 else "")
        where = f"looks for {looked}, and drew no curve" if compared else "draws no published curve"
        return [f"--published: {study} {where}: it has {here}"]
    own = {norm for panel, norm in published if panel in panels} - {*names, *norms}
    if not own:
        return []
    return [f"--published: {study} has no arm {' '.join(sorted(own))}: it looks for {looked}"]
