"""Who does what: the devices of all processes as meshes, and the jobs that each process takes.

A mesh has the axes `data`, over which a batch is spread, and `probe`, over which the points of a
probe are. Devices that one job does not need take others at the same time. What XLA compiled is
kept for the next start.
"""

import hashlib
import importlib.metadata
import os
import platform
import stat
import sys
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from filelock import FileLock
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bnjax.errors import RunError, UsageError, require, told
from bnjax.frame.messages import warn
from bnjax.types import PyTree

AXES = ("data", "probe")
MOST_THREADS = 512  # of one process; many more devices than half of it are other processes'
ONE_ORDER = (
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
)
DETERMINISTIC = ("--xla_gpu_exclude_nondeterministic_ops=true", "--xla_gpu_autotune_level=0")
Job = TypeVar("Job")


class Layout(NamedTuple):
    """What this process does, and who else is there."""

    meshes: tuple[Mesh | None, ...]  # one for each job at a time; None: the one device there is
    process: int = 0
    processes: int = 1
    together: bool = False  # all processes work on each job, in step; else each has its own

    @property
    def writes(self) -> bool:
        """Whether this process writes what there is once for a run."""
        return self.process == 0

    @property
    def writes_jobs(self) -> bool:
        """Whether this process writes the checkpoints of the jobs that it works on."""
        return self.writes or not self.together

    def own(self, jobs: Sequence[Job]) -> Sequence[Job]:
        return jobs if self.together else jobs[self.process :: self.processes]


ALONE = Layout((None,))
# On one CPU two jobs at once keep the cores busy where one of them waits for the host or compiles.
SIDE_BY_SIDE = Layout((None, None))


def prepare(data: int, probe: int, deterministic: bool = False) -> None:
    """What has to be settled before JAX starts its devices.

    Collectives on CPUs want to be met in the same order everywhere, and each blocks a thread of a
    pool that has as many as there are cores. Two in flight can wait for each other for ever in one
    process, and take each other's messages in several (gloo: "op.preamble.length <= op.nbytes").
    So: one program at a time, its operations in one order, and threads enough. Accelerators know
    nothing of these settings.

    Where a GPU has to be deterministic, operations without a deterministic kernel are replaced, and
    no kernel is chosen by timing.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    require(
        "XLA_FLAGS", flags, flags[:1] in ("", "-"), "flags that begin with --, not a file's name"
    )
    if deterministic:
        add_flags(*DETERMINISTIC)
    devices = data * probe
    if devices == 1:
        return
    threads = os.environ.get("NPROC") or "0"
    require("NPROC", threads, threads.isdecimal(), "a whole number of threads, or not set")
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    add_flags(*ONE_ORDER)
    os.environ["NPROC"] = str(min(max(2 * devices, int(threads)), MOST_THREADS))


def require_platform() -> None:
    """Refuse a platform of the environment that is not on this machine."""
    chosen = os.environ.get("JAX_PLATFORMS", "")
    if chosen in ("", "cpu"):
        return
    try:
        jax.devices()
    except Exception as error:  # JAX raises errors of many kinds, some without a word
        raise RunError(
            f"JAX_PLATFORMS={chosen} does not serve ({told(error)}): unset it, or change it "
            "to what is here, e.g. cpu"
        ) from error


def add_flags(*flags: str) -> None:
    """Give the compiler flags beside those of the environment; XLA reads them when it starts."""
    given = os.environ.get("XLA_FLAGS", "").split()
    os.environ["XLA_FLAGS"] = " ".join([*given, *(flag for flag in flags if flag not in given)])


def make_layout(data: int, probe: int) -> Layout:
    """Divide all devices into meshes of `data` × `probe` devices.

    One mesh for each `data · probe` devices of this process, or, where that is as many as all
    processes have, one mesh over all of them.
    """
    every, local = jax.devices(), jax.local_devices()
    process, processes, size = jax.process_index(), jax.process_count(), data * probe
    if len(every) == size == 1:
        on_cores = every[0].platform == "cpu" and (os.cpu_count() or 1) > 1
        return SIDE_BY_SIDE if on_cores else ALONE
    if len(local) % size == 0:
        groups = np.array(local).reshape(-1, data, probe)
        return Layout(tuple(map(make_mesh, groups)), process, processes)
    if len(every) == size:
        mesh = make_mesh(np.array(every).reshape(data, probe))
        return Layout((mesh,), process, processes, together=True)
    raise UsageError(
        f"--data-devices {data} --probe-devices {probe} need {size} devices: there are "
        f"{len(every)}, {len(local)} of them in each of {processes} processes; the product must "
        "divide those of a process, or be all"
    )


def make_mesh(devices: np.ndarray) -> Mesh:
    return Mesh(devices, AXES, axis_types=(jax.sharding.AxisType.Auto,) * len(AXES))


def batch_mesh(mesh: Mesh | None) -> Mesh | None:
    """The mesh where it divides batches, else None: programs for one device serve every device."""
    return None if mesh is None or mesh.shape["data"] == 1 else mesh


def place(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """A pytree of arrays, the same in every process, whole on every device of a mesh."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def spread(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = spread(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(spread, tree)


def on_one_device(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """A pytree that is whole on every device of a mesh, on the first one of this process alone."""
    if mesh is None:
        return tree
    return jax.device_put(jax.device_get(tree), mesh.local_devices[0])


def spread_points(measure: Any, mesh: Mesh | None) -> Any:
    """A measurement whose points (`probes.points.map_points`) are divided over the axis `probe`.

    Its result is whole on every device.
    """
    if mesh is None or mesh.shape["probe"] == 1:
        return measure
    whole = PartitionSpec()
    # Manual along `probe` alone, so that the compiler goes on dividing the batch along `data`.
    return jax.jit(
        jax.shard_map(
            measure,
            mesh=mesh,
            in_specs=whole,
            out_specs=whole,
            axis_names={"probe"},
            check_vma=False,
        )
    )


MAX_BYTES = 2 * 2**30


def processor_and_version() -> str:
    """The version of jaxlib and twelve digits for the processor: programs are its native code."""
    telling = ("model name", "flags", "Features", "CPU")
    about = {line for line in cpu_lines() if line.startswith(telling)}
    about |= {platform.machine(), platform.processor()}
    digest = hashlib.sha256("\n".join(sorted(about)).encode()).hexdigest()
    return f"{version('jaxlib')}-{digest[:12]}"


def cpu_lines() -> list[str]:
    """What Linux says of the processors; nothing elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def enable() -> None:
    """Keep compiled programs in `$BNJAX_CACHE_DIR`, else `$XDG_CACHE_HOME/bnjax`, up to 2 GiB.

    Each processor and each jaxlib has a folder of its own in there. The folder is the user's own
    and never part of a run. What lies there is trusted code, so a folder of another owner, or one
    that others can write to, is refused; the group that Linux gives each user alone is none of
    these, and loses the right to write. A folder that JAX was told of already
    (`JAX_COMPILATION_CACHE_DIR`) is left in force, and an empty `BNJAX_CACHE_DIR` switches the
    cache off.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    chosen = os.environ.get("BNJAX_CACHE_DIR")
    if chosen == "":
        return
    try:
        if chosen is None:
            caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
            chosen = str(Path(caches) / "bnjax" / "xla")
        kept = Path(chosen) / processor_and_version()
        for folder in (kept.parent, kept):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            refuse_foreign(folder)
        # JAX would wait ten seconds for it, at every program.
        with FileLock(kept / ".lockfile", timeout=1):
            pass
    except (OSError, RuntimeError) as error:  # a read-only home, or none at all; a lock held
        warn(
            f"compiled programs are not kept, each start compiles anew ({error}): set "
            "BNJAX_CACHE_DIR to a folder of your own, or to nothing"
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(kept))
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    drop_damaged(kept)


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder in which somebody else could have put programs."""
    found = folder.stat()
    if not hasattr(os, "getuid"):
        return
    own = found.st_uid == os.getuid()
    if own and found.st_mode & 0o022 == 0o020 and is_private(found.st_gid):
        folder.chmod(stat.S_IMODE(found.st_mode) & ~0o020)
    elif not own or found.st_mode & 0o022:
        mode = stat.filemode(found.st_mode)
        raise OSError(f"{folder} is {mode} of user {found.st_uid}: others could change them")


def is_private(group: int) -> bool:
    """Whether a group has its user's name and no other member, as a user's own on Linux."""
    import grp
    import pwd

    try:
        found, name = grp.getgrgid(group), pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return False
    return found.gr_name == name and not {*found.gr_mem} - {name}


DAMAGED = "Error reading persistent compilation cache entry"


def drop_damaged(folder: Path) -> None:
    """Drop programs that cannot be read from now on, with a line each.

    JAX warns and compiles, but keeps the entry, so that every start would fail at it again.
    """
    warnings.filterwarnings("always", message=DAMAGED)
    shown = warnings.showwarning

    def show(message: Warning | str, *where: Any, **options: Any) -> None:
        if not str(message).startswith(DAMAGED):
            shown(message, *where, **options)
        elif entry := damaged_entry(folder):
            entry.unlink(missing_ok=True)
            warn(f"a damaged compiled program is dropped and compiled anew ({entry})")

    warnings.showwarning = show  # type: ignore[assignment]


def damaged_entry(folder: Path) -> Path | None:
    """Of the programs that were asked for last the first that cannot be unpacked, else the last."""
    asked = sorted(folder.glob("*-atime"), key=lambda path: path.stat().st_mtime_ns)
    entries = [folder / f"{path.name.removesuffix('-atime')}-cache" for path in asked[:-9:-1]]
    for entry in entries:
        try:
            zlib.decompress(entry.read_bytes())
        except (OSError, zlib.error):
            return entry
    return entries[0] if entries else None


def most_memory() -> int:
    """Bytes that were in use at most: of the device where it says so, else of this process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return int(stats["peak_bytes_in_use"])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def version(package: str) -> str:
    """The installed version, or `not installed` (a source tree on the path, say)."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
