"""The line probe of landscape, at every batch size."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnjax.frame.arm import Arm, build_program
from bnjax.studies.landscape.measure import make_line
from bnjax.train import Measurement, every


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The line probe of one arm, on the batch of the step."""
    options = arm.options
    line = make_line(
        arm.probed_loss("highest"),
        (options.lr * np.asarray(options.multiples)).astype(np.float32),
        arm.key("probe"),
        gradient=build_program(arm).gradient if arm.trains_in("highest") else None,
        limits_every=0,
    )
    return {"line": Measurement(every(options.probe_every), line, ("direction",))}


def axes(options: Any) -> Mapping[str, Any]:
    """One direction, and step sizes in units of each arm's learning rate."""
    return {"direction": ("gradient",), "step_size": options.multiples}


def check_options(options: Any) -> None:
    """Refuse normalisers of single samples that do not fit the network's narrow layers."""
    from bnjax.frame.arm import arm_options, arm_values, build_model
    from bnjax.studies.batch_size import STUDY

    for values in arm_values(options):
        own = arm_options(STUDY, options, values)
        build_model(own, values["norm"], 10).shapes((32, 32, 3))
