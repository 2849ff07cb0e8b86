"""A long run uses no more than a short one: memory, handles, threads, compiled programs."""

import json

from faults.nursery import Process
from faults.toy import HOOKS, PERCEPTRON
from faults.trials import counted, number

STEPS = number("soak")
SAVES = 100
MEMORY = 64 << 20  # bytes above those of a warm process
HOURS = 4


def used(process: Process, place) -> list[dict]:
    """What the process noted, once it has ended well."""
    ended = process.wait(3600 * HOURS)
    assert ended is not None
    assert ended.status == 0, ended
    return [json.loads(line) for line in place.read_text().splitlines()]


def test_memory_handles_threads_and_programs_do_not_grow_with_the_steps(nursery, tmp_path):
    gauge = {"every": STEPS // 40, "place": str(tmp_path / "gauge")}
    steps = ["--steps", STEPS, "--checkpoint-steps", STEPS // SAVES, "--evaluate-every", 20]
    command = [*PERCEPTRON, "--norms", "batch", "--batch-size", "16", "--probe-every", "10", *steps]
    faults = {"hooks": [*HOOKS["hooks"], "soak"], "gauge": gauge}
    with counted("soak", STEPS):
        process = nursery.start([*command, "--out", tmp_path / "out"], faults)
        warm, *later = used(process, tmp_path / "gauge")[2:]  # after some of everything
        assert len(later) == 37
        assert max(row["bytes"] for row in later) - warm["bytes"] <= MEMORY, (warm, later[-1])
        assert max(row["handles"] for row in later) <= warm["handles"] + 2, (warm, later)
        assert max(row["threads"] for row in later) <= warm["threads"] + 2, (warm, later)
        assert {row["compiled"] for row in later} == {warm["compiled"]}, (warm, later)
