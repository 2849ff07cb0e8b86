"""What a record says of the newest step, in lines of text."""

from collections.abc import Sequence

import numpy as np

from bnjax.frame.records import Record

BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 32  # characters
MOST_VALUES = 4  # of each probe


def newest_step(record: Record, done: int) -> str:
    """Loss and accuracy of the newest step whose numbers have arrived.

    On an accelerator these are a block of steps behind.

    Args:
      record: of one arm.
      done: steps that are done or under way.

    Example:
      >>> train = {"train.finite": np.array([1, 1, np.nan]), "train.loss": np.array([3, 2, np.nan])}
      >>> newest_step({**train, "train.accuracy": np.array([0.25, 0.5, np.nan])}, 3)
      'minibatch loss 2.0000, accuracy 0.500'
    """
    arrived = np.flatnonzero(~np.isnan(record["train.finite"][:done]))
    if not len(arrived):
        return "first numbers under way"
    loss, accuracy = (record[f"train.{name}"][arrived[-1]] for name in ("loss", "accuracy"))
    text = f"minibatch loss {loss:.4f}"
    return text if np.isnan(accuracy) else f"{text}, accuracy {accuracy:.3f}"


def sparkline(values: np.ndarray) -> str:
    """A curve in a line of text, on a logarithmic scale, for the eye alone.

    Args:
      values: `[n]`; what is not positive and finite is left blank.

    Example:
      >>> sparkline(np.array([4.0, 2.0, np.nan, 1.0]))
      '█▅ ▁'
    """
    if not len(values):
        return ""
    parts = np.array_split(np.asarray(values, dtype=np.float64), min(len(values), CURVE_WIDTH))
    last = np.array([part[-1] for part in parts])
    drawn = np.isfinite(last) & (last > 0)
    height = np.log(np.where(drawn, last, 1.0))
    low, high = (np.min(height[drawn]), np.max(height[drawn])) if drawn.any() else (0.0, 0.0)
    level = np.rint((height - low) / ((high - low) or 1.0) * (len(BLOCKS) - 1))
    return "".join(
        BLOCKS[int(rank)] if here else " " for rank, here in zip(level, drawn, strict=True)
    )


def curve(record: Record, done: int) -> list[str]:
    """The training loss so far."""
    return [f"loss {sparkline(record['train.loss'][: max(1, done - 1)])}"]


def newest_probes(record: Record, shown: Sequence[str] = ()) -> list[str]:
    """The newest values of each probe, a line each; of several values least and greatest.

    Args:
      record: of one arm.
      shown: names of arrays, e.g. `line.smoothness`; empty: the first few of each probe.
    """
    groups: dict[str, list[str]] = {}
    for name in shown or record:
        group, _, field = name.partition(".")
        if name not in record or group in ("train", "test", "complete") or group.startswith("_"):
            continue
        rows = record[name].reshape(len(record[name]), -1)
        measured = rows[np.isfinite(rows).any(axis=1)]
        if len(measured) and len(groups.setdefault(group, [])) < MOST_VALUES:
            last = measured[-1][np.isfinite(measured[-1])]
            low, high = f"{last.min():.3g}", f"{last.max():.3g}"
            value = low if low == high else f"{low} … {high}"
            groups[group].append(f"{field.replace('_', ' ')} {value}")
    return [f"{group}: {', '.join(fields)}" for group, fields in groups.items() if fields]
