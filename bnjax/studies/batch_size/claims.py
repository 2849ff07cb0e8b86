"""The claims on normalisers against the batch size (Ba et al. 2016; Wu & He 2018).

At each batch size the networks differ in the normaliser alone; at all sizes they have seen the same
number of examples.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray

from bnjax import models
from bnjax.frame.results import Run
from bnjax.judge.compare import EQUAL_STEP, MINIMUM_PAIRS, seed_ratios
from bnjax.judge.curves import ACCURACY
from bnjax.judge.kit import TRAINS, Condition, Difference, Gate, Quantity, Ratio, Within
from bnjax.judge.verdict import Verdict
from bnjax.studies.landscape import claims as landscape

FLAT_POINTS = 0.03  # accuracies within 3 points are called equal
SOURCE = "Wu & He 2018, Fig. 1 and Table 2; Ba, Kiros & Hinton 2016"
PUBLISHED = {
    "batch": "ImageNet, ResNet-50, error: 23.6 % at 32, 34.7 % at 2 a worker (Wu & He 2018)",
    "group": "ImageNet, ResNet-50, error: 24.1 to 24.2 % from 32 to 2 a worker (Wu & He 2018)",
    "layer": "curves without numbers, MNIST, batches of 128 and 4 (Ba et al. 2016, Fig. 6)",
}
TOO_FEW = f"in some seed a size has fewer than {MINIMUM_PAIRS} such probed steps or ratios"
LANDSCAPE = {
    "fig4a": landscape.LOSS_BAND,
    "fig4b": landscape.PREDICTIVENESS,
    "fig4c": landscape.SMOOTHNESS,
}


def of_the_batch(run: Run, norm: str) -> bool:
    """Whether a normaliser takes its statistics over the batch."""
    return models.norms.by_name(norm).batch_statistics


def between(run: Run, quantity: Quantity) -> str:
    """The values at the sizes between the smallest and the largest."""
    values = quantity.of(run)
    each = [
        f"at {size} {' '.join(map(quantity.show, values.sel(batch_size=size).values.tolist()))}"
        for size in run.values("batch_size")[1:-1]
    ]
    return f"At the sizes between: {', '.join(each)}" if each else ""


def across_sizes(run: Run) -> Iterator[Verdict]:
    """Normalisers of the batch lose accuracy at the smallest batch, the others do not."""
    sizes = run.values("batch_size")
    small, large = sizes[0], sizes[-1]
    loses = Difference(
        identifier="sizes-{norm}",
        says=f"{{norm}} loses accuracy at a batch of {small} against {large}",
        quantity=ACCURACY,
        axis="batch_size",
        arm="at a batch of {arm}",
        above=large,
        below=small,
        when=of_the_batch,
        source=SOURCE,
        published=lambda run, norm: PUBLISHED.get(norm, ""),
        notes=lambda own, arms: between(own, ACCURACY),
    )
    is_flat = dataclasses.replace(
        loses,
        says=f"{{norm}} is as accurate at a batch of {small} as at {large}",
        rule=Within(-FLAT_POINTS, FLAT_POINTS),
        when=lambda run, norm: not of_the_batch(run, norm),
    )
    for claim in (loses, is_flat) if large > small else ():
        yield from claim(run)


def ahead(run: Run) -> Iterator[Verdict]:
    """The others are more accurate than BatchNorm at the smallest batch."""
    small = run.values("batch_size")[0]
    known = "10.5 points at 2 images a worker on ImageNet (Wu & He 2018)"
    yield from Difference(
        identifier=f"ahead-{{norm}}-{small}",
        says=f"{{norm}} is more accurate than BatchNorm at a batch of {small}",
        quantity=ACCURACY,
        above="{norm}",
        below="batch",
        source=SOURCE,
        published=lambda run, norm: known if norm == "group" else "",
    )(run.sel(batch_size=small))


def gains(run: Run, quantity: Quantity) -> xarray.DataArray:
    """The ratio none/batch of a quantity at equal step, at each size and for each seed.

    At a small batch the loss of a step is the mean over a block of steps, which together see as
    many examples as one step at the largest.
    """
    at_sizes = [run.sel(batch_size=size) for size in run.values("batch_size")]
    arms = "none", "batch"
    ratios = [seed_ratios(here, quantity.of(here), arms, EQUAL_STEP) for here in at_sizes]
    return xarray.DataArray(ratios, {name: run[name] for name in ("batch_size", "seed")})


def smoothing(run: Run) -> Iterator[Verdict]:
    """What BatchNorm gains in the landscape shrinks with the batch."""
    if {"none", "batch"} <= {*run.norms} and len(run.values("batch_size")) > 1:
        for figure, quantity in LANDSCAPE.items():
            yield from shrinks(run, figure, quantity)


def shrinks(run: Run, figure: str, quantity: Quantity) -> Iterator[Verdict]:
    """Whether the gain in one quantity is larger at the large batch."""
    found, (small, *_, large) = gains(run, quantity), run.values("batch_size")
    gain = Quantity(
        f"the median ratio none/BatchNorm of {quantity.noun} at equal step",
        lambda own: found,
        definition=f"{quantity.definition}; at each size the median over probed steps "
        f"{EQUAL_STEP.rule}, of the logarithms of the ratios of positive values; the loss is "
        "train_loss",
    )

    def why_not_trained(own: Run, size: int, *words: str) -> str:
        reasons = (TRAINS.why_not(run.sel(batch_size=size), norm) for norm in ("none", "batch"))
        return "; ".join(f"at a batch of {size} {reason}" for reason in reasons if reason)

    def why_too_few(own: Run, arms: tuple[Any, ...]) -> str:
        known = np.isfinite(found.sel(batch_size=[small, large])).all()
        return "" if known else "too few probed steps at which both train"

    yield from Ratio(
        identifier=f"shrinks-{figure}",
        says=f"BatchNorm's gain in {quantity.noun} shrinks with the batch size",
        quantity=gain,
        axis="batch_size",
        arm="at a batch of {arm}",
        above=large,
        below=small,
        at=(),
        only=("batch",),
        gate=Gate(why_not_trained, TRAINS.rule),
        conditions=(Condition(TOO_FEW, why_too_few),),
        notes=lambda own, arms: between(run, gain),
        source="Santurkar et al. 2018, Fig. 4, at each batch size; no number is published",
    )(run)


CLAIMS = (across_sizes, ahead, smoothing)
