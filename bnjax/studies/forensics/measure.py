"""The candidates: their networks, their data, and the line before the first step."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from bnjax import models
from bnjax.data import Dataset, Split
from bnjax.frame import arm as arms
from bnjax.frame.arm import Arm
from bnjax.models import Model, Norm, norms
from bnjax.studies.landscape import measure as landscape
from bnjax.train import Measurement

POWERS = {"l1": 1.0, "l2": 2.0, "linf": math.inf}


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The line probe of the landscape."""
    return landscape.probes(arm)


def axes(options: Any) -> Mapping[str, Any]:
    return {"direction": options.directions, "step_size": landscape.step_sizes(options)}


def arm_data(options: Any, dataset: Dataset) -> Dataset:
    """Images in a candidate's scale; of the test set, which tells nothing here, one batch."""
    scaled = arms.arm_data(options, dataset)
    pixels, labels = (array[: options.batch_size] for array in scaled.test)
    return scaled._replace(test=Split(pixels, labels))


def build_model(options: Any, norm: str, num_classes: int) -> Model:
    """The network of a candidate."""
    chosen = make_norm(norm, options.epsilon, options.average)
    if options.plain_head:
        plain = {f"dense{place}": norms.none() for place in range(1, len(options.hidden) + 1)}
        chosen = norms.with_exceptions(chosen, plain)
    model = models.vgg(
        int(options.model.removeprefix("vgg")),
        norm=chosen,
        num_classes=num_classes,
        width=options.width,
        hidden=tuple(options.hidden),
        initializer=options.initializer,
        dropout=options.dropout,
        pooling=options.pooling,
    )
    return dataclasses.replace(model, bias_init=options.bias_init)


@functools.cache  # normalisers, and so models, are equal if they are the same
def make_norm(name: str, epsilon: float, average: Any) -> Norm:
    if name == "batch":
        return norms.batch_norm(epsilon=epsilon)
    if name in POWERS:
        return norms.lp_norm(POWERS[name], epsilon=epsilon, average=average)
    return norms.by_name(name)
