"""Claims on the size of gradients by kind of parameter, within one network and between two."""

from collections.abc import Callable

import numpy as np
import xarray

from bnjax.frame.results import Run
from bnjax.judge.kit import SAME_STEP, AtMost, Gate, Quantity, Ratio

CANCELLED = 1e-3  # of the mean |gradient| of β: below it a bias counts as without one
# Cancellation is algebra: it needs no network that trains.
ANY_NETWORK = Gate(lambda *arm: "", "also judged where a network diverged or is dead")


def mean(run: Run, kind: str) -> xarray.DataArray:
    """Mean |gradient| of a kind of parameter; NaN where the network has none."""
    return run["magnitudes_mean"].sel(kind=kind)


def has(*kinds: str) -> Callable[[Run, str], bool]:
    """Whether a network has parameters of some kinds."""
    return lambda run, norm: all(np.isfinite(mean(run, kind)).any() for kind in kinds)


def larger(kind: str, letter: str) -> Ratio:
    """The claim that a normaliser's own parameters have the larger gradients."""
    return Ratio(
        identifier=kind + "-{norm}",
        says=letter + " of {norm} has larger gradients, per parameter, than kernels",
        quantity=Quantity(
            "the mean |gradient|",
            lambda run: run["magnitudes_mean"],
            definition="magnitudes_mean of both kinds",
        ),
        axis="kind",
        above=kind,
        below="kernel",
        arm="for {arm} parameters",
        at=(SAME_STEP,),
        when=has(kind),
        source="unpublished comparisons after Frankle et al. 2020 (2003.00152)",
        published="no number is known",
    )


CLAIMS = (
    larger("scale", "γ"),
    larger("shift", "β"),
    AtMost(
        identifier="cancelled-{norm}",
        says="biases before {norm} have no gradient",
        quantity=Quantity(
            "the mean |gradient| of these biases over that of β",
            lambda run: mean(run, "cancelled_bias") / mean(run, "shift"),
            definition="magnitudes_mean of the kind cancelled_bias over that of shift",
        ),
        limit=lambda run: CANCELLED,
        when=has("cancelled_bias", "shift"),
        gate=ANY_NETWORK,
        source="Ioffe & Szegedy 2015 (1502.03167), §3.2: the bias is cancelled by the mean",
        published="zero, by algebra",
    ),
    Ratio(
        identifier="kernel-{norm}",
        says="{norm} makes the gradients of kernels smaller",
        quantity=Quantity(
            "the mean |gradient| of kernels",
            lambda run: mean(run, "kernel"),
            definition="magnitudes_mean of the kind kernel",
        ),
        only=("batch",),
        source="Bjorck et al. 2018 (1806.02375): without it gradients are larger",
        published="histograms without numbers, at the start of training",
    ),
)
