"""What a long run uses, noted by the process itself now and then."""

import json
import os
import time
from pathlib import Path
from typing import Any

import jax

from bnjax.frame import listener


class Gauge:
    """Counts what is compiled, and notes it beside memory, handles and threads."""

    def __init__(self, place: str, steps: int, seconds: float) -> None:
        self.place, self.steps, self.seconds = place, steps, seconds
        self.compiled = 0
        self.noted = -seconds
        compile_or_get_cached = jax._src.compiler.compile_or_get_cached

        def count(*arguments: Any, **options: Any) -> Any:
            self.compiled += 1
            return compile_or_get_cached(*arguments, **options)

        jax._src.compiler.compile_or_get_cached = count

    def look(self, step: int) -> None:
        """Note what is used, a line of JSON, if so many steps and seconds have passed."""
        if step % self.steps or time.monotonic() - self.noted < self.seconds:
            return
        self.noted = time.monotonic()
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        used = {
            "step": step,
            "bytes": resident * os.sysconf("SC_PAGE_SIZE"),
            "handles": len(os.listdir("/proc/self/fd")),
            "threads": len(os.listdir("/proc/self/task")),
            "compiled": self.compiled,
        }
        with open(self.place, "a") as file:
            file.write(json.dumps(used) + "\n")


def soak(faults: dict[str, Any]) -> None:
    """Note what is used now and then, as `faults["gauge"]` says."""
    gauge = Gauge(**faults["gauge"])
    advance = listener.PlainDisplay.advance

    def noting(self: Any, arm: Any, done: int, record: Any) -> None:
        gauge.look(done)
        advance(self, arm, done, record)

    listener.PlainDisplay.advance = noting
