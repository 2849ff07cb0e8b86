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
      UsageError: unreadable, too large, other columns, or a value that is not a number.

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
                key = (row["panel"], NORMS.get(row["series"], row["series"]))
                points.setdefault(key, []).append(values)
    except UsageError:
        raise
    except (OSError, ValueError, TypeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--published {path} cannot be read ({reason}): give a CSV") from error
    return {key: Curve(*np.array(sorted(rows)).T) for key, rows in points.items()}
