"""A long run uses no more than a short one: memory, handles, threads, compiled programs."""

import json
import signal
from pathlib import Path

from faults.nursery import Ended, Process
from faults.toy import HOOKS, PERCEPTRON
from faults.trials import counted, number

SECONDS = number("soak")
LEAST = 2000  # steps
STEPS = 20 * LEAST + 1000 * SECONDS  # more than fit into the time: to end by itself is a failure
LOOKS = 40  # at what is used
WARM = 3  # looks, after which there has been some of everything
MEMORY = 64 << 20  # bytes above those of a warm process
SAVING = 8  # threads that write a checkpoint, and are gone afterwards
RECORDED = Path(__file__).with_name("soak_looks.jsonl")  # two hours at 7b1b14b, 2.3 million steps


def looks(place) -> list[dict]:
    """What the process noted so far."""
    return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []


def stop_after(process: Process, place) -> tuple[list[dict], Ended]:
    """Let it run for its time and its steps, and ask it to stop: what it used, how it left."""
    assert process.wait(SECONDS) is None, process.said("stderr")
    assert process.wait_until(lambda: any(row["step"] >= LEAST for row in looks(place))) is None
    process.send(signal.SIGTERM)
    ended = process.end()
    return looks(place), ended


def growth(found: list[dict]) -> list[str]:
    """What grew with the steps, of memory, handles, threads and compiled programs."""
    warm, *later = found[WARM - 1 :]
    assert len(later) > LOOKS // 2

    def most(name: str) -> int:
        return max(row[name] for row in later) - warm[name]

    # A look may fall into a save. Threads that are left behind are there at every later look.
    threads = min(row["threads"] for row in found[:WARM])
    left_behind = min(row["threads"] for row in later[-LOOKS // 4 :]) - threads
    grew = {
        "memory": most("bytes") > MEMORY,
        "handles": most("handles") > 2,
        "threads": left_behind > 2 or most("threads") > SAVING,
        "programs": most("compiled") > 0,
    }
    return [name for name, yes in grew.items() if yes]


def test_the_recorded_soak_of_two_hours_did_not_grow_and_one_that_leaks_does():
    found = looks(RECORDED)
    assert found[-1]["step"] > 2_000_000
    assert growth(found) == []
    for field, a_look, name in (
        ("bytes", 2 << 20, "memory"),
        ("handles", 1, "handles"),
        ("threads", 1, "threads"),
        ("compiled", 1, "programs"),
    ):
        leaks = [row | {field: row[field] + i * a_look} for i, row in enumerate(found)]
        assert growth(leaks) == [name]
    few = [row | {"threads": row["threads"] + 3 * (i > 20)} for i, row in enumerate(found)]
    assert growth(few) == ["threads"]
    few[WARM - 1]["threads"] += 6  # the warm look falls into a save
    assert growth(few) == ["threads"]


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
        found, ended = stop_after(process, tmp_path / "gauge")
        assert growth(found) == [], found
        assert ended.status == 130, ended
        assert "everything is saved" in ended.stderr
