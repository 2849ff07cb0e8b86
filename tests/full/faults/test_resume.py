"""A run that goes on from any of its steps ends as one that never stopped, bit for bit."""

import shutil
from pathlib import Path

import pytest

from faults import toy as toys
from faults.nursery import Nursery
from faults.toy import COMMON, PERCEPTRON, STEPS, Toy
from faults.trials import counted, number

# Each with an optimiser that has a state, and with random numbers in its steps.
MODELS = {
    "mlp": [*PERCEPTRON, "--augment"],
    "lenet": ["--model", "lenet", "--width", "0.25", "--optimizer", "adam"],
    "vgg11": ["--model", "vgg11", "--width", "0.04", "--optimizer", "momentum", "--augment"],
    "resnet": ["--model", "resnet", "--depth", "8", "--width", "0.1", "--augment"],
}
CHOSEN = list(MODELS)[: max(1, number("resume") // (STEPS + 1))]


@pytest.fixture(scope="module", params=CHOSEN)
def every(request, nursery: Nursery, tmp_path_factory) -> tuple[Toy, Path]:
    """A run with a checkpoint of each step, and all of them kept."""
    place = tmp_path_factory.mktemp(request.param)
    toy = Toy(nursery, [*COMMON, "--norms", "batch", *MODELS[request.param]], place)
    every = place / "every"
    shown = ["--checkpoint-steps", "1", "--checkpoints-kept", "100"]
    assert nursery.run([*toy.arguments, *shown, "--out", every], toys.HOOKS).status == 0
    toys.assert_same_outcome(toys.outcome(every), toy.reference)
    for name in ("results.nc", "metrics.jsonl", "summary.json"):
        (toys.run_folder(every) / name).unlink()
    return toy, every


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_from_any_step_on_the_numbers_are_those_of_an_unbroken_run(every, tmp_path, step):
    toy, source = every
    out = toys.copy(source, tmp_path / "out")
    for path in out.glob("landscape/*/checkpoints/*/*"):
        if path.name != str(step):
            shutil.rmtree(path)
    with counted("resume"):
        toy.finish(out)
