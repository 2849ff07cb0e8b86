"""The run folder: where a run's files stand, and how they are written, whole or not at all.

`runs/<experiment>/<digest of the configuration>/` holds `config.json`, `metrics.jsonl`,
`probes.npz`, `checkpoints/`, the figure and `summary.json`, which is written last, marks a
finished run and has the digests of its files.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bnjax.errors import RunError
from bnjax.frame import disk, inventory, plugins, sealed
from bnjax.frame.files import plain, write_sealed
from bnjax.frame.messages import warn
from bnjax.frame.names import digest, digest_of, original_name

CONFIG, METRICS, PROBES, SUMMARY, CHECKPOINTS, MODELS = (
    "config.json",
    "metrics.jsonl",
    "probes.npz",
    "summary.json",
    "checkpoints",
    "models",
)
FORMAT = 1
CLAIM = ("identifier", "sentence", "measured", "published", "verdict", "reason")


class Description(NamedTuple):
    """What `config.json` says: of what configuration a run is, and how it was made."""

    experiment: str
    config: dict[str, Any]  # plain values of all options
    plugins: list[str]  # SHA-256 of each file given as --plugins
    fingerprint: dict[str, Any]  # versions, device and flags when it began
    units: int  # arms times seeds
    continued: list[dict[str, Any]]  # what differed when it was gone on with

    @property
    def scripts(self) -> set[str]:
        """The scripts that measured it, see `runs.experiment.script`, as far as they are known."""
        found = (entry.get("script") for entry in (self.fingerprint, *self.continued))
        return {script for script in found if script}


class Summary(NamedTuple):
    """What `summary.json` says of a finished run."""

    claims: list[dict[str, str]]
    files: inventory.Inventory  # of the results


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
        disk.make_folder(folder)
        for place in (folder, folder / MODELS, *(folder / CHECKPOINTS).glob("*")):
            disk.remove_leftovers(place)
    except OSError as error:
        raise RunError(f"cannot make {folder} ({error.strerror}): give another --out") from error
    record = Description(
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
        changes_code = not {"commit", "script"}.isdisjoint(changed)
        code = ", unless the code measures something else" if changes_code else ""
        say(
            f"{folder} was begun under {describe_change(changed)}: it goes on, and ends with "
            f"numbers that agree with an unbroken run's to rounding, not bit for bit{code}"
        )
        return folder
    state = "a damaged" if is_finished(folder) else "an unfinished"
    raise RunError(
        f"{folder} holds {state} run made under {describe_change(changed)}: continue it "
        "there, or begin anew with --fresh (the folder is renamed, not deleted) or another --out"
    )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The entries of a fingerprint that changed, before and now."""
    keys = [key for key in {**now, **before} if before.get(key) != now.get(key)]
    return {key: (before.get(key), now.get(key)) for key in keys}


def write_config(folder: Path, record: Description) -> None:
    """Write `config.json`, sealed."""
    write_sealed(folder / CONFIG, {"format": FORMAT, **record._asdict()})


def read_config(folder: Path) -> Description:
    """Read `config.json`.

    Raises:
      RunError: it is missing, damaged, of another format, or not that of this folder.
    """
    try:
        content = sealed.read(folder / CONFIG, FORMAT)
        if set(content) != {"format", *Description._fields}:
            raise ValueError("it has other entries than ours")
        found = Description(**{name: content[name] for name in Description._fields})
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
