"""One arm diverges or is short of memory: the others finish, and what it measured is kept."""

import random
import signal

import numpy as np
import pytest

from bnjax.frame import results
from faults import toy as toys
from faults.test_points import check_line
from faults.toy import COMMON, HOOKS, PERCEPTRON, Toy
from faults.trials import counted, number

TRIALS = number("memory")
CHUNKS = max(2, TRIALS // 10)
NETWORK = ["--model", "dln", "--depth", "5", "--lr", "1e-3"]  # diverges without a normaliser
RUN = ["--steps", "20", "--batch-size", "100", "--probe-every", "4", "--evaluate-every", "8"]
DIVERGING = [*NETWORK, *RUN, "--multiples", "0.5", "1", "--checkpoint-steps", "4"]


@pytest.fixture(scope="module")
def chunked(nursery, tmp_path_factory) -> Toy:
    """Four points, all measured at a time."""
    more = ["--points", "4", "--chunk", "4"]
    return Toy(nursery, [*PERCEPTRON, *COMMON, *more], tmp_path_factory.mktemp("chunked"))


@pytest.fixture(scope="module")
def diverging(nursery, tmp_path_factory) -> Toy:
    """One arm of two ends in NaN."""
    return Toy(nursery, DIVERGING, tmp_path_factory.mktemp("diverging"))


def short(toy: Toy, out, norm: str, measurement: int, points: int):
    """The command while an arm is short of memory."""
    shortage = {"norm": norm, "measurement": measurement, "points": points}
    return toy.start(out, {"hooks": [*HOOKS["hooks"], "shortage"], "shortage": shortage}).end()


def halved(toy: Toy, out, generator: random.Random) -> None:
    """Fewer points fit: it is said, and the run ends with the same measurements."""
    points = generator.choice([1, 2])
    norm = generator.choice(["none", "batch"])
    ended = short(toy, out, norm, generator.randint(1, 5), points)
    assert ended.status == 0, ended
    warnings = ended.stderr.splitlines()
    assert len(warnings) == 3 - points, ended
    for line, tried in zip(warnings, (2, 1), strict=False):
        assert line.startswith(f"warning: {norm}, seed 0: out of memory; from the last checkpoint")
        assert f"{tried} points" in line
    found = results.read(toys.run_folder(out)).data
    expected = results.read(toys.run_folder(toy.place / "reference")).data
    for name, values in expected.items():
        if name.startswith("line_"):  # fewer at a time are another program, and round differently
            np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def too_little(toy: Toy, out, generator: random.Random) -> None:
    """Not even one point fits: the other arm is finished, and with memory this one is too."""
    norm, other = generator.sample(["none", "batch"], 2)
    measurement = generator.randint(1, 5)
    ended = short(toy, out, norm, measurement, 0)
    assert ended.status == 1, ended
    check_line(ended.stderr, "memory")
    assert f"1 of 2 arms failed: {norm}, seed 0" in ended.stderr
    assert toys.progress(out).get(f"{other}-0") == toys.STEPS
    assert toys.progress(out).get(f"{norm}-0", 0) == 4 * (measurement - 1)
    toy.run(out, more=["--accept-changes"])  # the shortage was in the code that measures


def compare_with_alone(toy: Toy, out, generator: random.Random) -> None:
    """What diverges ends there, before as after a kill, and the arm beside it knows nothing."""
    process = toy.start(out)
    process.wait(generator.uniform(0, toy.life))
    process.send(signal.SIGKILL)
    process.end()
    toy.finish(out)
    found = results.read(toys.run_folder(out))
    finite = found["train_finite"].sel(norm="none", seed=0).values
    end = int(np.flatnonzero(finite == 0)[0])
    assert (finite[:end] == 1).all()
    assert np.isnan(finite[end + 1 :]).all()
    assert np.isfinite(found["line_losses"].sel(norm="none", seed=0).values[0]).all()
    alone = out.with_name(out.name + "-alone")
    toy.nursery.run([*toy.arguments, "--norms", "batch", "--out", alone], HOOKS)
    single = results.read(toys.run_folder(alone))
    for name in found.data:
        both, one = (run[name].sel(norm="batch").values for run in (found, single))
        np.testing.assert_array_equal(both, one, err_msg=name)
        assert np.isfinite(both).all() or name.endswith("accuracy"), name  # which it has not


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_an_arm_in_trouble_keeps_what_it_measured_and_troubles_no_other(
    chunked, diverging, tmp_path, chunk
):
    ways = ((halved, chunked), (too_little, chunked), (compare_with_alone, diverging))
    for trial in range(chunk, TRIALS, CHUNKS):
        way, toy = ways[trial // CHUNKS % len(ways)]
        with counted("memory"):
            way(toy, tmp_path / str(trial), random.Random(f"memory {trial}"))
