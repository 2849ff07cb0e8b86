"""Run toy experiments in this process under several layouts of its devices; not a test by itself.

    python tests/device_layouts.py '{"out": …, "experiments": […], "options": […], "layouts": […]}'

Each list of layout options gives a run in a folder OUT/0, OUT/1, …. The environment says how many
devices there are.
"""

import importlib
import itertools
import json
import os
import sys

import jax
import numpy as np
import pytest
from conftest import make_toy
from test_landscape import TOY

from bnjax.data.dataset import from_arrays
from bnjax.runs import command_line as frame
from bnjax.runs import layout


def toy_dataset():
    """Sixty-four noise images, which eight devices can share, and sixteen for the test."""
    generator = np.random.default_rng(2)
    pixels = generator.integers(0, 256, (80, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(80) % 10
    return from_arrays("noise", 10, (pixels[:64], labels[:64]), (pixels[64:], labels[64:]), "noise")


def main() -> int:
    call = json.loads(sys.argv[1])
    if compiled := os.environ.get("BNJAX_TESTS_CACHE"):  # shared by several processes of a test
        jax.config.update("jax_compilation_cache_dir", compiled)
    layout.prepare(2, 1)  # before the first run, which may need one device only, starts them
    with pytest.MonkeyPatch.context() as patch:
        make_toy(patch, toy_dataset())
        for name, (number, options) in itertools.product(
            call["experiments"], enumerate(call["layouts"])
        ):
            experiment = importlib.import_module(name).EXPERIMENT
            place = ["--out", f"{call['out']}/{number}"]
            status = frame.main(experiment, [*TOY, *call["options"], *options, *place])
            if status:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
