"""The settings of publications as options of a run: Santurkar et al. 2018, Frankle et al. 2020."""

from collections.abc import Mapping
from typing import Any

# Their §2 and appendix A: VGG on CIFAR-10, 15,000 steps of plain SGD; the depth is not stated, but
# a 13th convolution is plotted.
VGG: Mapping[str, Any] = {
    "dataset": "cifar10",
    "model": "vgg16",
    "width": 1.0,
    "steps": 15_000,
    "evaluate_every": 500,
}
# Their §2.2: 25 layers of 10×10, full batch. Data and objective are those that the published losses
# fit; the text says Gaussian entries (`--dataset gaussian`).
DEEP_LINEAR: Mapping[str, Any] = {
    "dataset": "gaussian_positive",
    "model": "dln",
    "objective": "summed_squared_error",
    "batch_size": 1000,
    "evaluate_every": 500,
}
DEEP_LINEAR_RATE = 1e-6
DEEP_LINEAR_STEPS = 10_000

# Frankle et al. 2020: 160 epochs of batches of 128, lr divided by 10 at epochs 80 and 120. Their
# inputs are standardised per pixel, here per channel.
RESNET: Mapping[str, Any] = {
    "model": "resnet",
    "norms": ("batch",),
    "optimizer": "momentum",
    "initializer": "he_normal",
    "lr_drops": (0.5, 0.75),
    "weight_decay": 1e-4,
    "augment": True,
    "width": 1.0,
}
RESNET_STEPS = 62_500


def deep_linear_presets(
    *, paper_probe_every: int | None = None, **quick: Any
) -> dict[str, dict[str, Any]]:
    """The presets of a study on the deep linear network.

    Args:
      paper_probe_every: steps between probes at full length; None for those of `quick`.
      quick: the options of the short run, beside or in place of those of `DEEP_LINEAR`.

    Returns:
      `quick dln` and, alike in all but its length and its probes, `paper dln`.

    Example:
      >>> presets = deep_linear_presets(steps=2000, probe_every=20, lr=1e-6)
      >>> [(name, preset["steps"], preset["probe_every"]) for name, preset in presets.items()]
      [('quick dln', 2000, 20), ('paper dln', 10000, 20)]
    """
    short = {**DEEP_LINEAR, **quick}
    every = short["probe_every"] if paper_probe_every is None else paper_probe_every
    return {
        "quick dln": short,
        "paper dln": {**short, "steps": DEEP_LINEAR_STEPS, "probe_every": every},
    }
