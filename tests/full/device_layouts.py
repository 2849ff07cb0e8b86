"""Run toy studies in this process under several layouts of its devices; not a test by itself.

    python tests/device_layouts.py '{"out": …, "studies": […], "options": […], "layouts": […]}'

Each list of layout options gives a run in a folder OUT/0, OUT/1, …. The environment says how many
devices there are.
"""

import dataclasses
import itertools
import json
import os
import sys
import time

import jax
import numpy as np
import pytest
from conftest import tiny_model
from toy_runs import figure

from bnjax.commands import command_line
from bnjax.data.dataset import from_arrays
from bnjax.frame import checkpoints, layout, processes
from bnjax.frame import study as studies

TOY = ["--steps", "6", "--batch-size", "16", "--probe-every", "2", "--evaluate-every", "4"]


def toy_dataset():
    """Sixty-four noise images, which eight devices can share, and sixteen for the test."""
    generator = np.random.default_rng(2)
    pixels = generator.integers(0, 256, (80, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(80) % 10
    return from_arrays("noise", 10, (pixels[:64], labels[:64]), (pixels[64:], labels[64:]), "noise")


def stuck(ask):
    """No step ends after the fifth, for a minute, as in a long compilation."""

    def told_to_stop(poll):
        if poll == 5:
            print("stuck", flush=True)
            time.sleep(60)
        return ask(poll)

    return told_to_stop


def slow(save):
    """Each save takes three seconds."""

    def saves(*arguments):
        time.sleep(3)
        save(*arguments)

    return saves


def main() -> int:
    call = json.loads(sys.argv[1])
    # Before anything starts the devices, which a first run with one device would do.
    layout.prepare(int(os.environ["JAX_NUM_CPU_DEVICES"]), 1)
    if compiled := os.environ.get("BNJAX_TESTS_CACHE"):  # shared by several processes of a test
        jax.config.update("jax_compilation_cache_dir", compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bnjax.frame.arm.build_model", lambda options, norm, _: tiny_model(norm))
        # Made when it is asked for: nothing may start the devices before a job is joined.
        patch.setattr("bnjax.data.load", lambda *_, **__: toy_dataset())
        if os.environ.get("BNJAX_TESTS_TROUBLE") == "stuck":
            patch.setattr(processes, "told_to_stop", stuck(processes.told_to_stop))
        if os.environ.get("BNJAX_TESTS_TROUBLE") == "slow":
            patch.setattr(checkpoints, "save", slow(checkpoints.save))
        for name, (number, options) in itertools.product(
            call["studies"], enumerate(call["layouts"])
        ):
            place = ["--out", f"{call['out']}/{number}"]
            study = studies.find(name)
            parts = {**study.parts, "CLAIMS": (), "FIGURES": (figure,)}
            arguments = [*TOY, *call["options"], *options, *place]
            status = command_line.main(dataclasses.replace(study, parts=parts), arguments)
            if status:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
