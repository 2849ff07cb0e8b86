"""The run folder: where a run's files stand, and how they are written, whole or not at all.

`runs/<experiment>/<digest of the configuration>/` holds `config.json`, `metrics.jsonl`,
`probes.npz`, `checkpoints/`, the figure and `summary.json`, which is written last and marks a
finished run.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bnjax.errors import RunError
from bnjax.runs import disk
from bnjax.runs.messages import warn

CONFIG, METRICS, PROBES, SUMMARY, CHECKPOINTS, MODELS = (
    "config.json",
    "metrics.jsonl",
    "probes.npz",
    "summary.json",
    "checkpoints",
    "models",
)
# Where a run is kept and how it is shown do not change its results, nor does where the data lie.
# Nor do checkpoints and devices; what devices change in the last bits is in the fingerprint.
NOT_IN_DIGEST = frozenset(
    {
        "preset",
        "out",
        "fresh",
        "debug",
        "data_dir",
        "published",
        "yes",
        "checkpoint_minutes",
        "checkpoint_steps",
        "checkpoints_kept",
        "data_devices",
        "probe_devices",
        "distributed",
        "heartbeat_seconds",
        "deterministic",
    }
)


def digest(config: Any) -> str:
    """Twelve hexadecimal digits that name a configuration.

    Args:
      config: a frozen dataclass of plain values; the fields in `NOT_IN_DIGEST` do not count. A
        file that it names in `plugins` counts with what is in it.
    """
    fields = {k: v for k, v in dataclasses.asdict(config).items() if k not in NOT_IN_DIGEST}
    contents = [path.read_bytes() for path in fields.pop("plugins", ())]
    fields["plugins"] = [hashlib.sha256(content).hexdigest() for content in contents]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def open_folder(
    root: Path,
    experiment: str,
    config: Any,
    fingerprint: Mapping[str, Any],
    *,
    fresh: bool,
    layout: Collection[str] = (),
    say: Callable[[str], None] = warn,
) -> Path:
    """Make or take up the folder of a run.

    Args:
      root: folder of all runs.
      experiment: name of the experiment.
      config: frozen dataclass.
      fingerprint: versions, device and flags on which results depend bit for bit.
      fresh: set an existing folder aside (renamed, never deleted) and begin anew.
      layout: entries of the fingerprint under which an unfinished run may go on when they differ;
        that is said, and recorded under `continued` in `config.json`.
      say: is told of it.

    Returns:
      The folder, holding at least `config.json`.

    Raises:
      RunError: the folder cannot be made, its configuration is unreadable, or it belongs to an
        unfinished run made under another fingerprint.
    """
    folder = root / experiment / digest(config)
    try:
        if fresh and folder.exists():
            disk.set_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {folder} ({error.strerror}): give another --out") from error
    record = {"config": plain(dataclasses.asdict(config)), "fingerprint": dict(fingerprint)}
    if not (folder / CONFIG).exists():
        write_json(folder / CONFIG, record)
        return folder
    found = read_json(folder / CONFIG)
    made_with = found.get("fingerprint")
    if made_with == record["fingerprint"] or is_finished(folder):
        return folder
    changed = changes(made_with, record["fingerprint"])
    if isinstance(made_with, Mapping) and set(changed) <= set(layout):
        say(
            f"{folder} was begun under {describe_change(changed)}: it goes on, and ends with "
            "numbers that agree with an unbroken run's to rounding, not bit for bit"
        )
        went_on = found.get("continued", [])
        if (here := {key: now for key, (_, now) in changed.items()}) not in went_on:
            write_json(folder / CONFIG, {**found, "continued": [*went_on, here]})
        return folder
    raise RunError(
        f"{folder} holds an unfinished run made under {describe_change(changed)}: continue it "
        "there, or begin anew with --fresh (the folder is renamed, not deleted) or another --out"
    )


def changes(before: Any, now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The entries of a fingerprint that changed, before and now."""
    before = before if isinstance(before, Mapping) else {}
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return {key: (before.get(key), now.get(key)) for key in keys}


def describe_change(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """`jax 0.10.2 (now 0.12.0)` for each entry."""
    return ", ".join(f"{key} {before} (now {now})" for key, (before, now) in changed.items())


def is_finished(folder: Path) -> bool:
    """Whether the run's summary, which is written last, is there."""
    return (folder / SUMMARY).exists()


def write_json(path: Path, content: Any) -> None:
    """Write one JSON document."""
    with disk.replacing(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON document a line."""
    with disk.replacing(path) as temporary, open(temporary, "w") as file:
        file.writelines(json.dumps(plain(row), allow_nan=False) + "\n" for row in rows)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays; none of them may need pickling."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with disk.replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become the strings that say so."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Path):
        return str(value)
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
      RunError: the file is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read ({error}): restore it or begin anew with --fresh"
        ) from error
    if not isinstance(content, dict):
        raise RunError(f"{path} holds no JSON object: restore it or begin anew with --fresh")
    return content


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays.

    Raises:
      RunError: the file is missing or damaged.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except Exception as error:  # zipfile, numpy and zlib raise errors of many kinds
        raise RunError(f"{path} cannot be read ({error}): begin anew with --fresh") from error
