"""Memory that is not enough for what a probe of one arm takes at a time."""

import dataclasses
from typing import Any

import jax

from bnjax.studies import landscape
from faults.phases import watched


class Shortage:
    """From the n-th measurement of an arm on, more than so many points at a time fail."""

    def __init__(self, norm: str, measurement: int, points: int) -> None:
        self.norm, self.measurement, self.points = norm, measurement, points
        self.measured = 0

    def enter(self) -> None:
        """Fail as the runtime does, from the n-th time on."""
        self.measured += 1
        if self.measured >= self.measurement:
            raise jax.errors.JaxRuntimeError(
                "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes."
            )


def shortage(faults: dict[str, Any]) -> None:
    """Let the probe of one arm be short of memory, as `faults["shortage"]` says."""
    short = Shortage(**faults["shortage"])
    probes = landscape.STUDY.part("probes")

    def make(arm: Any) -> Any:
        made = probes(arm)
        enough = arm.values["norm"] != short.norm or arm.options.chunk <= short.points
        return made if enough else watched(made, short)

    parts = {**landscape.STUDY.parts, "probes": make}
    landscape.STUDY = dataclasses.replace(landscape.STUDY, parts=parts)
