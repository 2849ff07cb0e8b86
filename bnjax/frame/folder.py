"""The run folder: what stands where, and how it is written, whole or not at all.

`OUT/<study>/<digest of the options>/` holds `config.json`, `metrics.jsonl`, `results.nc`,
`checkpoints/`, the figures, `report.html` and `summary.json`, which is written last, marks a
finished run and has the digests of its files. One process at a time has a folder; the others learn
which one.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from bnjax.errors import RunError
from bnjax.frame import disk, files
from bnjax.frame.files import METRICS, RESULTS, ForeignFormat, plain, read_sealed, write_sealed
from bnjax.frame.messages import printable, warn
from bnjax.frame.options import EXECUTION
from bnjax.frame.study import plugin_digests

CONFIG, SUMMARY, CHECKPOINTS, MODELS = "config.json", "summary.json", "checkpoints", "models"
SESSIONS = "sessions.jsonl"
FORMAT = 2
LONGEST_NAME = 100
# How a run is carried out does not change its results, nor does where the data lie. What devices
# change in the last bits is in the fingerprint.
NOT_IN_DIGEST = EXECUTION | {"preset", "data_dir", "yes"}
# Options that were added later: a run without them has the name that it had before.
ADDED = {
    "watch": 0, "place": "pre", "qk_norm": False, "heads": 4, "context": 64, "text": None,
    "z_loss": 0.0,
}  # fmt: skip
# Read by XLA and the libraries that it calls, by NVIDIA's, and by `bnjax.convolution`.
ENVIRONMENT = (
    "NPROC", "XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG",
    *(f"{library}_{name}" for library in ("ONEDNN", "DNNL")  # which has two names
      for name in ("MAX_CPU_ISA", "CPU_ISA_HINTS", "DEFAULT_FPMATH_MODE")),
    "BNJAX_WINOGRAD",
)  # fmt: skip
# What of a fingerprint may differ when a run goes on: results then agree to rounding, not bit for
# bit.
LAYOUT = frozenset({
    "platform", "device", "processor", "num_devices", "processes", "data_devices", "probe_devices",
    "cores", "jax_cpu_collectives_implementation", *ENVIRONMENT,
})  # fmt: skip
# Recorded, and no difference: the code that decides numbers is told by `code`.
TOLD = frozenset({"commit", "script"})
ALWAYS_TOLD = frozenset({"data", "code"})  # a run that does not tell them is not taken for the same
MOST_TOLD = 6  # differences
LOST = {CONFIG: "was lost, and written again"}  # among what differed when a run was continued
ANEW = "begin anew with --fresh (the folder is renamed, not deleted) or another --out"
VERDICT = ("identifier", "sentence", "source", "rule", "measured", "published", "verdict", "reason")
NUMBER = {"name", "estimate", "low", "high", "n", "unit", "threshold"}
FIGURE_WORDS = ("name", "title", "text", "source", "caption")


def digest(options: Any) -> str:
    """Twelve hexadecimal digits that name a run by its options and the content of its plugins."""
    return digest_of(vars(options), plugin_digests(options.plugins))


def digest_of(options: Mapping[str, Any], plugins: Sequence[str]) -> str:
    """The digest of options that are plain values, from a file or not."""
    fields = {
        key: plain(value)
        for key, value in options.items()
        if key not in NOT_IN_DIGEST and not (key in ADDED and value == ADDED[key])
    }
    fields["plugins"] = list(plugins)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def safe_name(values: Iterable[object]) -> str:
    """One file name for some values, other names for others, none that leaves its folder.

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


def original_name(folder: Path) -> str:
    """The name that a folder had before it was set aside."""
    return re.sub(r"\.old[0-9]+$", "", folder.name)


class Description(NamedTuple):
    """What `config.json` says: of what options a run is, and how it was made."""

    study: str
    options: dict[str, Any]  # plain values
    plugins: list[str]  # SHA-256 of each file given as --plugins
    fingerprint: dict[str, Any]  # versions, device and flags when it began
    jobs: int  # arms times seeds
    continued: list[dict[str, Any]]  # what differed when the run was continued

    @property
    def scripts(self) -> set[str]:
        """The code that measured it, see `Study.script`, as far as it is known."""
        found = (entry.get("script") for entry in (self.fingerprint, *self.continued))
        return {script for script in found if script}


class Summary(NamedTuple):
    """What `summary.json` says of a finished run."""

    verdicts: list[dict[str, Any]]
    failed: dict[str, str]  # claims and figures that raised an error, and which
    files: dict[str, dict[str, Any]]  # of the results, see `files.take`
    figures: list[dict[str, Any]]  # `FIGURE_WORDS` and the names of the files of each
    question: str  # of the study
    source: str


def open_folder(
    root: Path,
    study: str,
    options: Any,
    fingerprint: Mapping[str, Any],
    *,
    fresh: bool,
    accept_changes: bool = False,
    say: Callable[[str], None] = warn,
) -> Path:
    """Make or take up the folder of a run, which then holds at least `config.json`.

    Under another fingerprint a run that was begun goes on where that differs in `LAYOUT` alone, or
    where changes are accepted: this is said, and recorded under `continued`. Else it is a
    `RunError`. Where `config.json` was lost, see `heal_config`.
    """
    folder = root / study / digest(options)
    files.refuse_links(folder.parent, deep=False)
    files.refuse_links(folder)
    try:
        if fresh and folder.exists():
            disk.set_aside(folder)
        disk.make_folder(folder)
        for place in (folder, folder / MODELS, *(folder / CHECKPOINTS).glob("*")):
            disk.remove_leftovers(place)
    except OSError as error:
        raise RunError(f"cannot make {folder} ({error.strerror}): give another --out") from error
    record = describe(study, options, fingerprint)
    if not (folder / CONFIG).exists():
        if saved(folder):
            record = record._replace(continued=[LOST])
        write_config(folder, record)
        say_mixture(folder, record, say)
        return folder
    found, changed = compare(folder, record.fingerprint, accept_changes=accept_changes)
    if changed and changed not in found.continued:
        write_config(folder, found._replace(continued=[*found.continued, changed]))
    say_mixture(folder, found, say)
    said = told_changes(found.fingerprint, changed)
    if deciding(changed):
        say(f"{folder} was begun under {said}: it continues, and {CONFIG} records these changes")
    elif said:
        say(
            f"{folder} was begun under {said}: it continues, and ends with numbers that agree with "
            "an unbroken run's to rounding, not bit for bit"
        )
    return folder


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a fingerprint that differ from those of an earlier start.

    An entry that is not known now is not compared; nor is one that was not known before, but data
    and code: JAX knows some of its settings once a module of its own is imported, and until then
    they have their defaults.
    """
    return {
        name: value
        for name, value in now.items()
        if before.get(name) != value and (name in before or name in ALWAYS_TOLD)
    }


def told_changes(before: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
    """Differences of fingerprints for a person, those that decide numbers first."""
    order = sorted(changed.keys() - TOLD, key=lambda name: (name in LAYOUT, [*changed].index(name)))
    said = [f"{name} {before.get(name)} (now {changed[name]})"[:200] for name in order[:MOST_TOLD]]
    more = [f"{len(order) - MOST_TOLD} more"] if len(order) > MOST_TOLD else []
    return ", ".join([*said, *more])


def deciding(changed: Mapping[str, Any]) -> dict[str, Any]:
    """The differences of fingerprints that decide numbers."""
    return {name: changed[name] for name in changed if name not in LAYOUT | TOLD}


def compare(
    folder: Path, now: Mapping[str, Any], *, accept_changes: bool, answers: bool = False
) -> tuple[Description, dict[str, Any]]:
    """How a run was begun, and what differs now; changes that decide numbers are refused.

    Args:
      folder: of the run.
      now: today's fingerprint.
      accept_changes: refuse none.
      answers: whether the run is finished, and taken as the result.
    """
    record = read_config(folder)
    changed = differing(record.fingerprint, plain(now))
    if deciding(changed) and not accept_changes:
        state = "a finished" if answers else "a damaged" if is_finished(folder) else "an unfinished"
        said = told_changes(record.fingerprint, changed)
        first, last = f"continue it as it was begun, {ANEW}", "go on with"
        if answers:
            first = f"{ANEW}, judge and draw what it measured with --redraw"
            last = "take it as it is with"
        raise RunError(
            f"{folder} holds {state} run made under {said}: {first}, or {last} --accept-changes"
        )
    return record, changed


def mixed(record: Description) -> set[str]:
    """What decides numbers and was another thing when a run was continued than at its start."""
    return {key for one in record.continued for key in one} - LAYOUT - TOLD


def say_mixture(folder: Path, record: Description, say: Callable[[str], None]) -> None:
    """Say under what else than at its start a run was continued before."""
    if CONFIG in mixed(record):
        say(f"{folder} lost its {CONFIG} once: not all is known under what it was made")
    if others := mixed(record) - {CONFIG}:
        say(f"{folder} was continued under other {', '.join(sorted(others))}, see {CONFIG}")


def heal_config(
    folder: Path,
    study: str,
    options: Any,
    *,
    accept_changes: bool = False,
    say: Callable[[str], None] = warn,
) -> None:
    """Write a lost or damaged `config.json` again, from the copies in checkpoints.

    Without a copy nobody knows under what settings the run was begun: to go on is a change. Once it
    is accepted, `config.json` is written for a finished run from its results, and for an unfinished
    one by `open_folder`.
    """
    if not folder.exists() or not (damage := config_damage(folder)):
        return
    record = max(saved_configs(folder), key=lambda copy: len(copy.continued), default=None)
    if record is None and not accept_changes and (saved(folder) or is_finished(folder)):
        raise RunError(
            f"{folder / CONFIG} does not serve ({damage}) and no checkpoint has a copy of it, so "
            f"under what the run was begun is not known: {ANEW}, or go on with --accept-changes"
        )
    if record is None and is_finished(folder) and RESULTS not in damaged_results(folder):
        from bnjax.frame import results

        facts = dict(results.read(folder).facts)
        record = describe(study, options, facts)._replace(continued=[LOST])
    aside = ""
    if (folder / CONFIG).exists():
        aside = f"; it is now {disk.set_aside(folder / CONFIG).name}"
    say(f"{folder / CONFIG} does not serve: {damage}{aside}; it is written again")
    if record is not None:
        write_config(folder, record)


def saved_configs(folder: Path) -> list[Description]:
    """The sound copies of `config.json` in the checkpoints of a run."""
    from bnjax.frame import checkpoints

    found = []
    for place in saved(folder):
        with contextlib.suppress(ValueError):
            copy = files.build(Description, checkpoints.read_manifest(place).config)
            check_config(folder, copy)
            found.append(copy)
    return found


def config_damage(folder: Path) -> str:
    """Why `config.json` does not serve; one of another version is not damaged."""
    try:
        read_config(folder)
    except RunError as error:
        return "" if isinstance(error.__cause__, ForeignFormat) else reason(error)
    return ""


def describe(study: str, options: Any, fingerprint: Mapping[str, Any]) -> Description:
    return Description(
        study,
        plain(vars(options)),
        plugin_digests(options.plugins),
        plain(fingerprint),
        options.seeds * math.prod(map(len, options.factors.values())),
        [],
    )


def write_config(folder: Path, record: Description) -> None:
    write_sealed(folder / CONFIG, FORMAT, record)


def read_config(folder: Path) -> Description:
    """Read `config.json`; a `RunError` if it does not serve, or is not that of this folder."""
    try:
        found = read_sealed(folder / CONFIG, FORMAT, Description)
        check_config(folder, found)
    except ForeignFormat as error:
        raise RunError(
            f"{folder / CONFIG}: {error}: read it with that version, or begin anew with --fresh"
        ) from error
    except ValueError as error:
        raise RunError(
            f"{folder / CONFIG} does not serve ({error}): the command that made it writes it "
            "again, and begins anew with --fresh"
        ) from error
    return found


def check_config(folder: Path, found: Description) -> None:
    """Refuse the description of another run as a `ValueError`."""
    if not all(isinstance(digest, str) for digest in found.plugins) or not all(
        isinstance(differs, dict) for differs in found.continued
    ):
        raise ValueError("it has values of other types than ours")
    here = Path(os.path.abspath(folder))
    if here.parent.name != found.study:
        raise ValueError(f"it is of the study {found.study}")
    if (own := digest_of(found.options, found.plugins)) != original_name(here):
        raise ValueError(f"it is of the run {own}")


def write_summary(
    folder: Path,
    verdicts: Iterable[Mapping[str, Any]],
    failed: Mapping[str, str],
    names: Iterable[str],
    figures: Iterable[Mapping[str, Any]] = (),
    question: str = "",
    source: str = "",
) -> None:
    listed = [*map(dict, verdicts)], dict(failed), files.take(folder, names), [*map(dict, figures)]
    write_sealed(folder / SUMMARY, FORMAT, Summary(*listed, question, source))


def renew_summary(folder: Path, name: str) -> None:
    """Take the digest of one file again, after it was written anew; the others keep theirs."""
    found = read_summary(folder)
    renewed = found._replace(files={**found.files, **files.take(folder, [name])})
    write_sealed(folder / SUMMARY, FORMAT, renewed)


def read_summary(folder: Path) -> Summary:
    try:
        found = read_sealed(folder / SUMMARY, FORMAT, Summary)
        if not (
            all(
                has_texts(one, VERDICT, "numbers")
                and all(isinstance(n, dict) and set(n) == NUMBER for n in one["numbers"])
                for one in found.verdicts
            )
            and all(isinstance(why, str) for why in found.failed.values())
            and files.is_inventory(found.files)
            and all(
                has_texts(one, FIGURE_WORDS, "files")
                and all(isinstance(name, str) and name in found.files for name in one["files"])
                for one in found.figures
            )
        ):
            raise ValueError("it has values of other types than ours")
    except ValueError as error:
        raise RunError(
            f"{folder / SUMMARY} does not serve ({error}): the same command writes it again"
        ) from error
    return found


def has_texts(value: Any, names: Sequence[str], listed: str) -> bool:
    """Whether a value from a file has texts of these names and one list, and nothing else."""
    return (
        isinstance(value, dict)
        and set(value) == {*names, listed}
        and all(isinstance(value[name], str) for name in names)
        and isinstance(value[listed], list)
    )


class Session(NamedTuple):
    """What a process took that worked on a run until it was done or interrupted."""

    seconds: float
    memory_bytes: int  # the most that was in use: of the device, or of the process


def note_session(folder: Path, session: Session) -> None:
    noted = (json.dumps(one._asdict()) + "\n" for one in (*read_sessions(folder), session))
    with contextlib.suppress(OSError):  # nothing depends on it
        disk.write(folder / SESSIONS, "".join(noted).encode())


def read_sessions(folder: Path) -> list[Session]:
    """The sessions of a run, as far as they were noted: one that was killed is not."""
    try:
        lines = files.read(folder / SESSIONS, files.LARGEST_DOCUMENT).decode().splitlines()
        found = [files.parse_json(line) for line in lines]
        return [Session(float(one["seconds"]), int(one["memory_bytes"])) for one in found]
    except (ValueError, KeyError, TypeError, OverflowError):
        return []


def is_finished(folder: Path) -> bool:
    return (folder / SUMMARY).exists()


LOCKS = ".locks"
LONGEST_OWNER = 1000  # characters
LONGEST_SILENCE = 1.0  # seconds between taking a lock and writing the owner's name


class Owner(NamedTuple):
    """The process that a file names as the owner of a run folder."""

    pid: int
    host: str

    def may_live(self) -> bool:
        """Whether it runs, as far as this machine can know."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except PermissionError:  # it lives, as another user's
            return True
        except (OSError, OverflowError):
            return False
        return True

    def __str__(self) -> str:
        return f"process {self.pid} on {printable(self.host, 100)}"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep all other processes off a run folder, which need not exist, while the block runs.

    The system releases the lock when its owner dies, however it dies.
    """
    lock, owner = lock_files(folder)
    for path in (lock.parent, lock, owner):
        files.refuse_links(path, deep=False)
    places = (lock.parent, folder.parent, *folder.parent.parents)
    new = [place for place in places if not os.path.exists(place)]
    try:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():  # the file itself is the lock where there is no other
                warnings.filterwarnings("ignore", "flock not supported", UserWarning)
                held = FileLock(lock, timeout=0).acquire()
        except Timeout as error:
            raise in_use(folder) from error
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"cannot lock {folder} ({reason}): give another --out") from error
        with held:
            if folder.exists():
                with staying(folder):  # who has it may have lost its `.locks`
                    pass
            with contextlib.suppress(OSError):  # a full disk spoils only the others' message
                owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            try:
                yield
            finally:
                if not folder.exists():
                    owner.unlink(missing_ok=True)
                    lock.unlink(missing_ok=True)
    finally:
        if not folder.exists():  # a refused call leaves nothing behind
            for place in new:
                with contextlib.suppress(OSError):  # others have locks or runs there
                    place.rmdir()


@contextlib.contextmanager
def staying(folder: Path, *, owner: bool = True) -> Iterator[Callable[[], None]]:
    """Within the block what is yielded refuses to go on in a folder that is no longer this one.

    The owner locks the folder itself, too: `.locks` may be removed under way.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if owner:
            import fcntl

            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise in_use(folder) from error
            except OSError:  # not on this file system
                pass

        def check() -> None:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(folder), os.fstat(descriptor)):
                    return
            raise RunError(
                f"{folder} was moved or removed while it was in use: put it back, and the same "
                "command continues"
            )

        yield check
    finally:
        os.close(descriptor)


def in_use(folder: Path) -> RunError:
    lock, owner = lock_files(folder)
    remedy = "wait until that ends, or give another --out"
    with contextlib.suppress(OSError):
        if lock.stat().st_size:  # on a file system without locks the file itself is the lock
            remedy += f"; if it has ended, remove {lock}"
    return RunError(f"{folder} is in use by {find_owner(owner)}: {remedy}")


def user(folder: Path) -> str:
    """The process that has a run folder at the moment; empty if none has. Nothing is written.

    Asking takes the lock for microseconds, in which a starting process would find the folder in
    use. So only a folder whose named owner may live is asked about.
    """
    import fcntl

    lock, owner = lock_files(folder)
    if not (found := read_owner(owner)) or not found.may_live():
        return ""
    try:
        with files.opened(lock, LONGEST_OWNER) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return str(found)
    except (OSError, ValueError):
        pass
    return ""


def lock_files(folder: Path) -> tuple[Path, Path]:
    locks, name = folder.parent.parent / LOCKS, f"{folder.parent.name}-{folder.name}"
    return locks / f"{name}.lock", locks / f"{name}.owner"


def find_owner(path: Path) -> str:
    """The owner of a folder that is in use.

    Between taking the lock and writing its name a process is unknown, or the file still names a
    process that has ended; so this waits a little.
    """
    latest = time.monotonic() + LONGEST_SILENCE
    while not (found := read_owner(path)) or not found.may_live():
        if time.monotonic() > latest:
            return "another process"
        time.sleep(0.01)
    return str(found)


def read_owner(path: Path) -> Owner | None:
    try:
        found = files.parse_json(files.read(path, LONGEST_OWNER).decode())
        return Owner(int(found["pid"]), str(found["host"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


class Verdict(NamedTuple):
    """What was found in one run folder."""

    damage: dict[Path, str]  # by file or checkpoint
    files: int  # sound ones
    checkpoints: int  # sound ones
    finished: bool
    foreign: str = ""  # the version of bnjax that made it, where it is another one


def verify(path: Path) -> Verdict:
    """Compare a run folder with its digests; files that no run writes are not judged."""
    finished = is_finished(path)
    damage: dict[Path, str] = {}
    files = 0
    try:
        read_config(path)
        files += 1
    except RunError as error:
        if isinstance(error.__cause__, ForeignFormat):  # what else it holds is not judged
            return Verdict({}, 0, 0, finished, reason(error))
        damage[path / CONFIG] = reason(error)
    if finished:
        broken = damaged_results(path)
        damage |= {path / name: what for name, what in broken.items()}
        if SUMMARY not in broken:
            files += 1 + len(read_summary(path).files) - len(broken)
    places = saved(path, damage)
    broken_checkpoints = damaged_checkpoints(path, places)
    sound = sum(place.exists() for place in places) - len(broken_checkpoints)
    return Verdict({**damage, **broken_checkpoints}, files, sound, finished)


def damaged_checkpoints(path: Path, places: Sequence[Path]) -> dict[Path, str]:
    from bnjax.frame import checkpoints  # loads JAX, which reading results does not need

    found, begun = {}, dict[str, Any]()
    with contextlib.suppress(RunError):  # a description that does not serve is said elsewhere
        begun = deciding(read_config(path).fingerprint)
    for place in places:
        arm = f"{original_name(path)}/{place.parent.name}"
        what = checkpoints.find_damage(place, arm, begun)
        if what and place.exists():  # a run that goes on drops its older checkpoints
            found[place] = what
    return found


def reason(error: RunError) -> str:
    """Why, without the remedy."""
    return str(error.__cause__ or error)


def saved(path: Path, damage: dict[Path, str] | None = None) -> list[Path]:
    """The folders of all checkpoints of a run, but those that were set aside.

    What stands where there should be folders, and could lead anywhere, is noted as damage.
    """
    from bnjax.frame import checkpoints

    def is_folder(place: Path) -> bool:
        sound = place.is_dir() and not place.is_symlink()
        if damage is not None and not sound and os.path.lexists(place):
            damage[place] = "is not a folder"
        return sound

    root = path / CHECKPOINTS
    units = sorted(filter(is_folder, root.iterdir())) if is_folder(root) else []
    return [unit / str(step) for unit in units for step in checkpoints.steps(unit)]


def damaged_results(path: Path) -> dict[str, str]:
    try:
        summary = read_summary(path)
    except RunError as error:
        return {SUMMARY: reason(error)}
    expected = {METRICS, RESULTS} - set(summary.files)
    found = {name: "has no digest" for name in expected} | files.find_damage(path, summary.files)
    if RESULTS not in found and (why := foreign_results(path)):
        found[RESULTS] = why
    return found


def foreign_results(path: Path) -> str:
    """Why sound results are another run's than `config.json` says; empty if they are not."""
    try:
        record = read_config(path)
        about = files.read_attributes(path / RESULTS, ("options", "facts"))
        options, facts = map(files.parse_json, about.values())
        for name, value in options.items():
            if record.options.get(name) not in (value, [value]):
                return f"is of a run with {name} {value}"[:200]
        for name, value in differing(record.fingerprint, facts).items():
            known = any(one.get(name) == value for one in record.continued)
            if name not in LAYOUT | TOLD and not known:
                return f"is of a run under {name} {value}"[:200]
    except (RunError, AttributeError, KeyError, ValueError):  # said elsewhere, or no facts
        pass
    return ""


class Flaws(NamedTuple):
    """What of a finished run is to be done again or said."""

    results: dict[str, str]  # damaged files, by name
    checkpoints: dict[Path, str]  # damaged ones
    failed: dict[str, str]  # claims and figures


def find_flaws(path: Path) -> Flaws | None:
    """The flaws of a run whose measurements are all sound; None if it is no such run."""
    if not is_finished(path) or config_damage(path):
        return None
    read_config(path)  # refuses one of another version
    damaged, measured = damaged_results(path), (SUMMARY, METRICS, RESULTS)
    if any(name in measured or name.startswith(f"{MODELS}/") for name in damaged):
        return None
    return Flaws(damaged, damaged_checkpoints(path, saved(path)), read_summary(path).failed)


def set_damaged_aside(path: Path, flaws: Flaws, say: Callable[[str], None]) -> None:
    """Rename what is damaged of a finished run, so that it is written again; say so."""
    files.refuse_links(path)
    for name, what in flaws.results.items():
        aside = ""
        if (path / name).exists():
            aside = f"; it is now {disk.set_aside(path / name).name}"
        say(f"{path / name}: {what}{aside}; it is written again")
    for place, what in flaws.checkpoints.items():
        say(f"checkpoint {place} is damaged: {what}; it is now {disk.set_aside(place).name}")
