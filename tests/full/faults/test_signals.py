"""SIGTERM and SIGINT in each phase of a run: saved, said, gone; the same command goes on."""

import random
import re
import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from faults import toy as toys
from faults.nursery import Ended
from faults.phases import PHASES, TIMES
from faults.toy import HOOKS, Toy
from faults.trials import counted, number

LONGEST = 10.0  # seconds from the first signal to the end
AT_ONCE = 1.0  # seconds from the second
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Trial(NamedTuple):
    """Which signal when, and whether another one follows; a long phase outlasts all patience."""

    phase: str
    number: signal.Signals
    count: int
    again: bool = False
    long: bool = False


def plan() -> list[Trial]:
    """Each phase first, one that lasts too long and a second signal; then what is drawn."""
    generator = random.Random("signals")
    trials = [Trial("compile", signal.SIGTERM, 5, long=True)]
    trials += [Trial("probe", signal.SIGINT, 2, again=True)]
    trials += [Trial(phase, SIGNALS[i % 2], 1) for i, phase in enumerate(PHASES)]
    while len(trials) < number("signals"):
        phase = generator.choice(PHASES)
        count = generator.randint(1, TIMES.get(phase, 1))
        again = phase != "start" and generator.random() < 0.2
        long = phase in ("compile", "save") and not again and generator.random() < 0.1
        trials.append(Trial(phase, generator.choice(SIGNALS), count, again, long))
    return trials


PLAN = plan()
CHUNKS = max(3, len(PLAN) // 10)


def stop(toy: Toy, trial: Trial, place: Path) -> tuple[Ended, float]:
    """Send the signals in the phase; how the process ended, and how long after the last."""
    seconds = 20.0 if trial.long or trial.again else 0.2
    moment = {
        "phase": trial.phase,
        "count": trial.count,
        "seconds": seconds,
        "mark": str(place / "mark"),
        "deaf": trial.phase in ("compile", "save") and (trial.long or trial.again),
    }
    hooks = [*HOOKS["hooks"], "pause"]
    process = toy.start(place / "out", {"hooks": hooks, "moment": moment})
    assert process.wait_until((place / "mark").exists) is None, process.said("stderr")
    process.send(trial.number)
    if trial.again:
        time.sleep(0.3)
        assert process.wait(0) is None
        process.send(trial.number)
    sent = time.monotonic()
    ended = process.end()
    return ended, time.monotonic() - sent


def check(trial: Trial, ended: Ended, out: Path) -> None:
    """It said what it did, and did what it said."""
    if trial.phase == "start":  # nothing is under way yet: as if it had not been started
        assert ended.status in (130, -signal.SIGTERM), ended
        assert toys.progress(out) == {}
        return
    assert ended.status == 130, ended
    assert "Traceback" not in ended.stderr, ended
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("interrupted")]
    assert "the same command continues" in line
    if trial.again or trial.long:
        expected = "at once" if trial.again else "no step ended within"
        assert expected in line
    elif said := re.search(r"at step (\d+) of \d+ of the arm (\w+), seed 0", line):
        assert toys.progress(out)[f"{said[2]}-0"] == int(said[1])
    else:
        assert "after everything was done" in line or "arms done" in line


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_signal_in_any_phase_saves_and_leaves_and_the_same_command_goes_on(
    single, tmp_path, chunk
):
    for count, trial in enumerate(PLAN[chunk::CHUNKS]):
        with counted("signals"):
            place = tmp_path / str(count)
            place.mkdir()
            ended, seconds = stop(single, trial, place)
            assert seconds < (AT_ONCE if trial.again else LONGEST), (trial, ended)
            try:
                check(trial, ended, place / "out")
                single.finish(
                    place / "out", ["--accept-changes"]
                )  # the hook was in code that measures
            except AssertionError as error:
                raise AssertionError(f"{trial}: {ended}: {error}") from error
