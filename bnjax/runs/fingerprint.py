"""What a result depends on besides its configuration: versions, device, flags."""

import importlib.metadata
import os
import platform
from typing import Any

import jax

PACKAGES = ("bnjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def fingerprint() -> dict[str, Any]:
    """Versions, device and flags; equal fingerprints promise equal results, bit for bit, on a CPU.

    CPU results depend on the number of cores that XLA sees, so that is part of it.
    """
    device = jax.devices()[0]
    return {
        **{package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": device.platform,
        "device": device.device_kind,
        "num_devices": jax.device_count(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "float64": bool(jax.config.jax_enable_x64),
    }


def version(package: str) -> str:
    """The installed version, or `not installed` (a source tree on the path, say)."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
