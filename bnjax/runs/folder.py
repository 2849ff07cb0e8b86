"""The run folder: where a run's files stand, and how they are written, whole or not at all.

`runs/<experiment>/<digest of the configuration>/` holds `config.json`, `metrics.jsonl`,
`probes.npz`, `checkpoints/`, the figure and `summary.json`, which is written last, marks a
finished run and has the digests of its files.
"""

import dataclasses
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnjax.errors import RunError
from bnjax.runs import bounded, disk, inventory, plugins, sealed
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


FORMAT = 1
LONGEST_NAME = 100
CLAIM = ("identifier", "sentence", "measured", "published", "verdict", "reason")


class Record(NamedTuple):
    """What `config.json` says: of what configuration a run is, and how it was made."""

    experiment: str
    config: dict[str, Any]  # plain values of all options
    plugins: list[str]  # SHA-256 of each file that registers normalisers
    fingerprint: dict[str, Any]  # versions, device and flags when it began
    units: int  # arms times seeds
    continued: list[dict[str, Any]]  # what differed when it was gone on with


class Summary(NamedTuple):
    """What `summary.json` says of a finished run."""

    claims: list[dict[str, str]]
    files: inventory.Inventory  # of the results


def digest(config: Any) -> str:
    """Twelve hexadecimal digits that name a configuration.

    Args:
      config: a frozen dataclass of plain values; the fields in `NOT_IN_DIGEST` do not count. A
        file that it names in `plugins` counts with what is in it.
    """
    return digest_of(dataclasses.asdict(config), plugins.digests(getattr(config, "plugins", ())))


def digest_of(options: Mapping[str, Any], plugin_digests: Sequence[str]) -> str:
    """The digest of a configuration whose options are plain values, from a file or not."""
    fields = {key: plain(value) for key, value in options.items() if key not in NOT_IN_DIGEST}
    fields["plugins"] = list(plugin_digests)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def safe_name(values: Iterable[object]) -> str:
    """One file name for some values, other names for others, none that leaves its folder.

    Args:
      values: e.g. of an arm's factors; letters, digits and `_+.=` stay as they are.

    Example:
      >>> safe_name(("batch", 0.1, 0)), safe_name(("../x", 0))
      ('batch-0.1-0', '%2E%2E%2Fx-0')
    """
    name = "-".join(map(str, values))
    if re.match(r"\.", name) or not re.fullmatch(r"[A-Za-z0-9_+.=-]+", name):
        name = "".join(
            character
            if re.fullmatch(r"[A-Za-z0-9_+=-]", character)
            else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
            for character in name
        )
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 13]}%{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return name


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
    inventory.refuse_links(folder.parent, deep=False)
    inventory.refuse_links(folder)
    try:
        if fresh and folder.exists():
            disk.set_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {folder} ({error.strerror}): give another --out") from error
    record = Record(
        experiment,
        plain(dataclasses.asdict(config)),
        plugins.digests(getattr(config, "plugins", ())),
        plain(fingerprint),
        config.seeds * math.prod(len(values) for values in config.arm_axes.values()),
        [],
    )
    if not (folder / CONFIG).exists():
        write_config(folder, record)
        return folder
    found = read_config(folder)
    changed = changes(found.fingerprint, record.fingerprint)
    if not changed:
        return folder
    if set(changed) <= set(layout):
        here = {key: now for key, (_, now) in changed.items()}
        if here not in found.continued:
            write_config(folder, found._replace(continued=[*found.continued, here]))
        say(
            f"{folder} was begun under {describe_change(changed)}: it goes on, and ends with "
            "numbers that agree with an unbroken run's to rounding, not bit for bit"
        )
        return folder
    raise RunError(
        f"{folder} holds an unfinished run made under {describe_change(changed)}: continue it "
        "there, or begin anew with --fresh (the folder is renamed, not deleted) or another --out"
    )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The entries of a fingerprint that changed, before and now."""
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return {key: (before.get(key), now.get(key)) for key in keys}


def write_config(folder: Path, record: Record) -> None:
    """Write `config.json`, sealed."""
    write_sealed(folder / CONFIG, {"format": FORMAT, **record._asdict()})


def read_config(folder: Path) -> Record:
    """Read `config.json`.

    Raises:
      RunError: it is missing, damaged, of another format, or not that of this folder.
    """
    try:
        content = sealed.read(folder / CONFIG, FORMAT)
        if set(content) != {"format", *Record._fields}:
            raise ValueError("it has other entries than ours")
        found = Record(**{name: content[name] for name in Record._fields})
        if not (
            isinstance(found.experiment, str)
            and isinstance(found.config, dict)
            and isinstance(found.plugins, list)
            and all(isinstance(entry, str) for entry in found.plugins)
            and isinstance(found.fingerprint, dict)
            and type(found.units) is int
            and isinstance(found.continued, list)
        ):
            raise ValueError("it has values of other types than ours")
        here = Path(os.path.abspath(folder))
        if here.parent.name != found.experiment:
            raise ValueError(f"it is of the experiment {found.experiment}")
        if (own := digest_of(found.config, found.plugins)) != original_name(here):
            raise ValueError(f"it is of the run {own}")
    except ValueError as error:
        raise RunError(
            f"{folder / CONFIG} does not serve ({error}): restore it, or begin anew with --fresh"
        ) from error
    return found


def original_name(folder: Path) -> str:
    """The name that a folder had before it was set aside."""
    return re.sub(r"\.old[0-9]+$", "", folder.name)


def write_summary(folder: Path, claims: Sequence[Mapping[str, str]], names: Sequence[str]) -> None:
    """Write `summary.json`, sealed: the claims, and the digests of the files of these names."""
    taken = inventory.take(folder, names)
    write_sealed(folder / SUMMARY, {"format": FORMAT, "claims": claims, "files": taken})


def renew_summary(folder: Path) -> None:
    """Take the digests again, after figures of a finished run were drawn anew."""
    found = read_summary(folder)
    write_summary(folder, found.claims, list(found.files))


def read_summary(folder: Path) -> Summary:
    """Read `summary.json`.

    Raises:
      RunError: it is missing, damaged or of another format.
    """
    try:
        content = sealed.read(folder / SUMMARY, FORMAT)
        claims, files = content.get("claims"), content.get("files", {})
        if not (
            isinstance(claims, list)
            and all(isinstance(claim, dict) and set(CLAIM) <= set(claim) for claim in claims)
            and all(isinstance(text, str) for claim in claims for text in claim.values())
            and inventory.is_inventory(files)
        ):
            raise ValueError("it has values of other types than ours")
    except ValueError as error:
        raise RunError(
            f"{folder / SUMMARY} does not serve ({error}): the same command writes it again"
        ) from error
    return Summary(claims, files)


def describe_change(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """`jax 0.10.2 (now 0.12.0)` for each entry."""
    return ", ".join(f"{key} {before} (now {now})"[:200] for key, (before, now) in changed.items())


def is_finished(folder: Path) -> bool:
    """Whether the run's summary, which is written last, is there."""
    return (folder / SUMMARY).exists()


def write_json(path: Path, content: Any) -> None:
    """Write one JSON document."""
    with disk.replacing(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON document that carries its own digest."""
    with disk.replacing(path) as temporary:
        temporary.write_text(sealed.render(plain(content)))


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


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays.

    Raises:
      RunError: the file is missing or damaged.
    """
    try:
        return bounded.read_npz(path)
    except ValueError as error:
        raise RunError(
            f"{path} cannot be read ({error}): restore it, or give the command that made it again"
        ) from error
