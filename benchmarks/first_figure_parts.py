"""One landscape run, taken apart: its last line is JSON, seconds by part.

Every part waits for what it computes and arms train one after the other, so that no part pays for
another; the sum is more than the run takes as a user starts it.
"""

import sys
import time

from bnjax.commands.command_line import suit_xla

suit_xla(sys.argv)
BEGUN = time.perf_counter()

import collections  # noqa: E402
import json  # noqa: E402

import jax  # noqa: E402

from bnjax import data  # noqa: E402
from bnjax.commands import command_line  # noqa: E402
from bnjax.frame import job, layout  # noqa: E402
from bnjax.probes import Probe  # noqa: E402
from bnjax.report import page, publish  # noqa: E402
from bnjax.studies.landscape import STUDY, measure  # noqa: E402

SECONDS: dict[str, float] = collections.Counter()  # type: ignore[assignment]
SECONDS["import"] = time.perf_counter() - BEGUN
RUNNING: list[str] = []


def timing(name, function):
    """The function, its time counted under a name and not under that of its caller."""

    def timed(*arguments, **options):
        if name == "train" and RUNNING:  # a point of a probe
            return function(*arguments, **options)
        if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arguments)):
            return function(*arguments, **options)
        jax.block_until_ready(arguments)
        begun = time.perf_counter()
        RUNNING.append(name)
        found = jax.block_until_ready(function(*arguments, **options))
        RUNNING.pop()
        took = time.perf_counter() - begun
        SECONDS[name] += took
        if RUNNING:
            SECONDS[RUNNING[-1]] -= took
        return found

    return timed


def on_duration(event, seconds, **_):
    """Count compilation under its own name, not under the part that needs it."""
    if event.endswith(("backend_compile_duration", "jaxpr_trace_duration")) or (
        event.endswith("jaxpr_to_mlir_module_duration")
    ):
        SECONDS["compile"] += seconds
        if RUNNING:
            SECONDS[RUNNING[-1]] -= seconds


def limits_apart(self, *arguments, **options):
    """Time the limits of a probe apart."""
    made(self, *arguments, **options)
    self._limits_at = timing("limits", self._limits_at)


def programs(*arguments):
    """The programs of an arm, timed."""
    found = build(*arguments)
    return found._replace(
        gradient=timing("train", found.gradient), update=timing("train", found.update)
    )


def make_line(*arguments, **options):
    """The probe, timed."""
    return timing("probe", lines(*arguments, **options))


made, build, lines = Probe.__init__, job.build_program, measure.make_line
Probe.__init__ = limits_apart
job.build_program = measure.build_program = programs
layout.SIDE_BY_SIDE = layout.ALONE
measure.make_line = make_line
data.load = timing("data", data.load)
job.test_probe = lambda *a, old=job.test_probe: (p := old(*a))._replace(
    measure=timing("evaluate", p.measure)
)
publish.draw_figures = lambda *a, old=publish.draw_figures: timing("draw", lambda: list(old(*a)))()
page.render = timing("report", page.render)
jax.monitoring.register_event_duration_secs_listener(on_duration)
command_line.act(STUDY, sys.argv[1:])
total = time.perf_counter() - BEGUN
SECONDS["rest"] = total - sum(SECONDS.values())
print(json.dumps({name: round(value, 2) for name, value in SECONDS.items()}))
