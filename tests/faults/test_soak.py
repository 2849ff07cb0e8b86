"""A long run uses no more than a short one: memory, handles, threads, compiled programs."""

import json
import signal

from faults.nursery import Process
from faults.toy import HOOKS, PERCEPTRON
from faults.trials import counted, number

SECONDS = number("soak")
STEPS = 2000 + 1000 * SECONDS  # more than fit into so many seconds
EVERY = 100_000 if SECONDS else 50  # steps between two looks at what is used
WARM = 3  # looks, after which there has been some of everything
MEMORY = 64 << 20  # bytes above those of a warm process


def used(process: Process, place) -> list[dict]:
    """What the process noted, once it has ended well or was asked to, after its time."""
    if SECONDS and process.wait(SECONDS) is None:
        process.send(signal.SIGTERM)
        ended = process.end()
        assert ended.status == 130, ended
        assert "everything is saved" in ended.stderr
    else:
        ended = process.end()
        assert ended.status == 0, ended
    return [json.loads(line) for line in place.read_text().splitlines()]


def test_memory_handles_threads_and_programs_do_not_grow_with_the_steps(nursery, tmp_path):
    gauge = {"every": EVERY, "place": str(tmp_path / "gauge")}
    saves = EVERY // 2 if SECONDS else 20  # steps; on the side, every minute
    steps = ["--steps", STEPS, "--checkpoint-steps", saves, "--evaluate-every", 20]
    command = [*PERCEPTRON, "--norms", "batch", "--batch-size", "16", "--probe-every", "10", *steps]
    faults = {"hooks": [*HOOKS["hooks"], "soak"], "gauge": gauge}
    with counted("soak", SECONDS):
        process = nursery.start([*command, "--out", tmp_path / "out"], faults)
        warm, *later = used(process, tmp_path / "gauge")[WARM - 1 :]
        assert len(later) > 30
        assert max(row["bytes"] for row in later) - warm["bytes"] <= MEMORY, (warm, later[-1])
        assert max(row["handles"] for row in later) <= warm["handles"] + 2, (warm, later)
        assert max(row["threads"] for row in later) <= warm["threads"] + 2, (warm, later)
        assert {row["compiled"] for row in later} == {warm["compiled"]}, (warm, later)
