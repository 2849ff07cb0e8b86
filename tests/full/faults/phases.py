"""A moment inside each phase of a run: the process says that it is there, and stays a while."""

import dataclasses
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from bnjax import data
from bnjax.draw import Drawing
from bnjax.frame import checkpoints, job, listener, results
from bnjax.studies import landscape

PHASES = ("start", "compile", "step", "probe", "evaluation", "save", "results", "figure")
# As often as a run of one arm comes to each: see COMMON in toy.py.
TIMES = {"start": 1, "compile": 20, "step": 20, "probe": 5, "evaluation": 4, "save": 5}


class Moment:
    """The n-th time that a phase is entered."""

    def __init__(self, phase: str, count: int, seconds: float, mark: str, deaf: bool) -> None:
        self.phase, self.count, self.seconds = phase, count, seconds
        self.mark, self.deaf = Path(mark), deaf
        self.entered = 0

    def watch(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        """The operation with the moment before it."""

        def call(*arguments: Any, **options: Any) -> Any:
            self.enter()
            return operation(*arguments, **options)

        return call

    def enter(self) -> None:
        """Say so and stay, if it is the n-th time."""
        listening = any(thread.name == "signals" for thread in threading.enumerate())
        self.entered += listening or self.phase == "start"
        if self.entered != self.count:
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        if self.deaf:  # as in a compilation: this thread runs no handler until it is over
            signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        self.mark.touch()
        time.sleep(self.seconds)
        if self.deaf:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def pause(faults: dict[str, Any]) -> None:
    """Stay for a while where `faults["moment"]` says."""
    moment = Moment(**faults["moment"])
    if moment.phase == "start":
        data.load = moment.watch(data.load)
    elif moment.phase == "compile":
        compiler = jax._src.compiler
        compiler.compile_or_get_cached = moment.watch(compiler.compile_or_get_cached)
    elif moment.phase == "step":
        listener.PlainDisplay.advance = moment.watch(listener.PlainDisplay.advance)
    elif moment.phase == "probe":
        probes = landscape.STUDY.part("probes")
        parts = {**landscape.STUDY.parts, "probes": lambda arm: watched(probes(arm), moment)}
        landscape.STUDY = dataclasses.replace(landscape.STUDY, parts=parts)
    elif moment.phase == "evaluation":
        make = job.test_probe
        job.test_probe = lambda *given: watched({"test": make(*given)}, moment)["test"]
    elif moment.phase == "save":
        checkpoints.write_files = moment.watch(checkpoints.write_files)
    elif moment.phase == "results":
        results.metric_rows = moment.watch(results.metric_rows)
    else:
        Drawing.save = moment.watch(Drawing.save)


def watched(probes: dict[str, Any], moment: Any) -> dict[str, Any]:
    """Probes with the moment before what they measure; their shapes are asked for in peace."""

    def watch(measure: Callable[..., Any]) -> Callable[..., Any]:
        def call(state: Any, *rest: Any) -> Any:
            if not isinstance(jax.tree.leaves(state)[0], jax.core.Tracer):
                moment.enter()
            return measure(state, *rest)

        return call

    return {name: probe._replace(measure=watch(probe.measure)) for name, probe in probes.items()}
