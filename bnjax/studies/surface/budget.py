"""What a grid of measurements will take, estimated before it starts, and a refusal if it is absurd.

The estimate is crude and says so: operations counted by the compiler over a rate that is assumed.
"""

import math
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bnjax.errors import UsageError
from bnjax.models import Model

CORE_OPERATIONS_PER_SECOND = 25e9  # of one core, float32; measured on convolutions of VGG-11
ACCELERATOR_OPERATIONS_PER_SECOND = 10e12
LONGEST_HOURS = 12.0
LARGEST_BYTES = 8 * 2**30


class Budget(NamedTuple):
    """The size of a grid, over all arms and seeds unless said otherwise."""

    forward_passes: int  # of one image
    operations: float  # floating-point, of one forward pass; NaN where they are not known
    snapshots: int  # of all parameters, of one arm; all are in memory at once
    parameters: int

    @property
    def hours(self) -> float:
        """Estimated time of the forward passes."""
        return self.forward_passes * self.operations / operations_per_second() / 3600

    @property
    def snapshot_bytes(self) -> int:
        """Memory of one arm's snapshots, float32."""
        return 4 * self.snapshots * self.parameters


def operations_per_second() -> float:
    """The assumed rate of this machine."""
    if jax.default_backend() != "cpu":
        return ACCELERATOR_OPERATIONS_PER_SECOND
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return cores * CORE_OPERATIONS_PER_SECOND


def require_affordable(budget: Budget, *, insist: bool, remedy: str) -> None:
    """Refuse a grid that would take absurdly long or much memory, unless the user insists.

    Raises:
      UsageError: with the estimate, and `remedy`, options that make the grid smaller.
    """
    if insist:
        return
    if budget.hours > LONGEST_HOURS:
        raise UsageError(
            f"this grid takes {budget.forward_passes:.2g} forward passes of an image, about "
            f"{budget.hours:.3g} hours at an assumed {operations_per_second() / 1e9:.3g} GFLOP/s: "
            f"{remedy}, or insist with --yes"
        )
    if budget.snapshot_bytes > LARGEST_BYTES:
        raise UsageError(
            f"{budget.snapshots} snapshots of {budget.parameters} parameters take "
            f"{budget.snapshot_bytes / 2**30:.3g} GiB of memory, and as much on disk for each arm: "
            "give a larger --probe-every, or insist with --yes"
        )


def forward_operations(model: Model, image_shape: tuple[int, ...], batch_size: int) -> float:
    """Floating-point operations of one image's way forward, as the compiler counts them.

    Nothing is compiled or run. NaN where the compiler does not count.
    """
    images = jax.ShapeDtypeStruct((batch_size, *image_shape), jnp.float32)
    forward = jax.jit(
        lambda variables, images: model.apply(**variables, images=images, train=False)
    )
    counted = forward.lower(model.shapes(image_shape), images).cost_analysis()
    return float((counted or {}).get("flops", math.nan)) / batch_size


def count_parameters(model: Model, image_shape: tuple[int, ...]) -> int:
    """Parameters of a model in all layers together; nothing is computed.

    Example:
      >>> from bnjax.models import deep_linear, norms
      >>> count_parameters(deep_linear(norm=norms.none()), (1, 1, 10))
      2500
    """
    return sum(leaf.size for leaf in jax.tree.leaves(model.shapes(image_shape)["params"]))
