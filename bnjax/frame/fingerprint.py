"""What a result depends on besides its configuration: versions, device, flags."""

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import jax

from bnjax.frame.layout import ALONE, Layout

PACKAGES = ("bnjax", "jax", "jaxlib", "flax", "optax", "numpy")


# What a run may go on under when it differs: results then agree to rounding, not bit for bit,
# unless the code has changed what is measured.
LAYOUT = (
    "platform",
    "device",
    "processor",
    "num_devices",
    "processes",
    "data_devices",
    "probe_devices",
    "cores",
    "NPROC",
    "XLA_FLAGS",
    "commit",
    "script",
)


def fingerprint(who: Layout = ALONE) -> dict[str, Any]:
    """Versions, devices and flags; equal fingerprints promise equal results, bit for bit, on a CPU.

    CPU results depend on the number of cores that XLA sees and on the processor's instructions,
    for which XLA compiles; so both are part of it.

    Args:
      who: how the devices are used; by default one for each thing.
    """
    device, mesh = jax.devices()[0], who.meshes[0]
    return {
        **{package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": device.platform,
        "device": device.device_kind,
        "processor": processor(),
        "num_devices": jax.device_count(),
        "processes": who.processes,
        "data_devices": 1 if mesh is None else mesh.shape["data"],
        "probe_devices": 1 if mesh is None else mesh.shape["probe"],
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "NPROC": os.environ.get("NPROC", ""),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "commit": commit(),
        "float64": bool(jax.config.jax_enable_x64),
    }


def processor() -> str:
    """The model of the processor, as far as the system says."""
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    names = re.findall(r"^model name\s*:\s*(.*\S)", described, re.MULTILINE)
    return names[0] if names else platform.processor()


def commit() -> str:
    """The commit of the source tree, and `+` where files differ from it; empty if there is none.

    A module or an experiment that git does not know is a difference, too.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""

    def git(*arguments: str) -> str:
        call = ["git", "-C", str(root), *arguments]
        done = subprocess.run(call, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        described = git("describe", "--always", "--abbrev=12", "--dirty=+")
        unknown = git("ls-files", "--others", "--exclude-standard", "bnjax", "experiments")
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.removesuffix("+") + "+" if unknown else described


def version(package: str) -> str:
    """The installed version, or `not installed` (a source tree on the path, say)."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
