"""A long run uses no more than a short one: memory, handles, threads, compiled programs."""

import json
import signal

from faults.nursery import Process
from faults.toy import HOOKS, PERCEPTRON
from faults.trials import counted, number

SECONDS = number("soak")
LEAST = 2000  # steps
STEPS = 20 * LEAST + 1000 * SECONDS  # more than fit into the time: to end by itself is a failure
LOOKS = 40  # at what is used
WARM = 3  # looks, after which there has been some of everything
MEMORY = 64 << 20  # bytes above those of a warm process


def looks(place) -> list[dict]:
    """What the process noted so far."""
    return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []


def stop_after(process: Process, place) -> list[dict]:
    """Let it run for its time and its steps, ask it to stop, and see it save and leave."""
    assert process.wait(SECONDS) is None, process.said("stderr")
    assert process.wait_until(lambda: any(row["step"] >= LEAST for row in looks(place))) is None
    process.send(signal.SIGTERM)
    ended = process.end()
    assert ended.status == 130, ended
    assert "everything is saved" in ended.stderr
    return looks(place)


def test_memory_handles_threads_and_programs_do_not_grow_with_the_steps(nursery, tmp_path):
    gauge = {
        "place": str(tmp_path / "gauge"),
        "steps": LEAST // LOOKS,
        "seconds": SECONDS / LOOKS,
    }
    saves = 20 if SECONDS == 0 else 60_000  # steps between two; there is one a minute, too
    steps = ["--steps", STEPS, "--checkpoint-steps", saves, "--evaluate-every", 20]
    command = [*PERCEPTRON, "--norms", "batch", "--batch-size", "16", "--probe-every", "10", *steps]
    faults = {"hooks": [*HOOKS["hooks"], "soak"], "gauge": gauge}
    with counted("soak", SECONDS):
        process = nursery.start([*command, "--out", tmp_path / "out"], faults)
        warm, *later = stop_after(process, tmp_path / "gauge")[WARM - 1 :]
        assert len(later) > LOOKS // 2
        assert max(row["bytes"] for row in later) - warm["bytes"] <= MEMORY, (warm, later[-1])
        assert max(row["handles"] for row in later) <= warm["handles"] + 2, (warm, later)
        assert max(row["threads"] for row in later) <= warm["threads"] + 2, (warm, later)
        assert {row["compiled"] for row in later} == {warm["compiled"]}, (warm, later)
