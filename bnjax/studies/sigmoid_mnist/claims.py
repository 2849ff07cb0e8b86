"""The claims of Ioffe & Szegedy 2015, Fig. 1 and §3.1, on a small sigmoid network.

How soon and how high its test accuracy rises, how far the inputs to the sigmoids move along
training, and whether an image that comes alone is classified as it is among others.
"""

import math

import xarray

from bnjax import models
from bnjax.frame.results import Run
from bnjax.judge.curves import ACCURACY, count, percent
from bnjax.judge.kit import Decided, Difference, OneArm, Quantity, Ratio, single
from bnjax.judge.verdict import seeds

PAPER = "Ioffe & Szegedy 2015"
SAME_LOGIT = 1e-4  # of the largest logit: sums in another order round otherwise
CURVES = "curves without numbers; their axis runs from 70 to 100 % (Fig. 1a)"


def steps_to_test_accuracy(run: Run) -> xarray.DataArray:
    """The step of the first evaluation at the target, at least 1; inf if none reaches it."""
    reached = run["test_accuracy"] >= run.options["target_accuracy"]
    steps = run["test_step"].where(reached).min("test_step")
    return steps.fillna(math.inf).clip(min=1)


def target(run: Run) -> str:
    """What steps are counted to."""
    goal = percent(run.options["target_accuracy"])
    return f"the number of steps to test accuracy {goal}"


def spreads(values: xarray.DataArray) -> xarray.DataArray:
    """Highest minus lowest percentile, NaN where a sigmoid gets one value only."""
    width = values.isel(percentile=-1) - values.isel(percentile=0)
    return width.where(width > 0)


def wander(run: Run) -> xarray.DataArray:
    """How far each sigmoid's percentiles get along the run, in its own mean spread."""
    values = run["inputs_percentiles"]
    measured = (abs(values) < math.inf).all(["channel", "percentile"])
    values = values.where(measured)  # until it diverged
    travelled = values.max("probe_step") - values.min("probe_step")
    return travelled.mean("percentile") / spreads(values).mean("probe_step")


def drift(run: Run) -> xarray.DataArray:
    """How far the median sigmoid's percentiles move to the next probe, in spreads."""
    values = run["inputs_percentiles"]
    moved = abs(values.shift(probe_step=-1) - values).mean("percentile", skipna=False)
    return (moved / spreads(values)).median("channel")


def last(run: Run, name: str) -> xarray.DataArray:
    """A number of single images at the last probe."""
    return run[f"single_{name}"].isel(probe_step=-1)


class Movement(Ratio):
    """A ratio of movements, whose rule says how they are measured."""

    def estimate(self, run: Run, arms: tuple[str, ...]) -> str:
        """What is estimated."""
        return (
            f"{super().estimate(run, arms)}; a movement is that of the 15th, 50th and 85th "
            "percentile over the chosen images, averaged over the three and divided by 85th minus "
            "15th (along the run: largest minus smallest value, over the mean spread, without the "
            "probes at which a value is not finite); the median sigmoid is that over channels; a "
            "spread of 0 is missing"
        )


class SameAlone(OneArm):
    """Does every image get the same class and logits alone as among others?"""

    def decide(self, run: Run, noun: str, values: xarray.DataArray) -> Decided:
        """The largest difference of logits, and the share of equal classes, in every seed."""
        rule = (
            f"{run.options['singles']} test images, last probe, every seed: supported if each gets "
            f"the same class and {noun} is at most {SAME_LOGIT:g}, else not supported"
        )
        relative, share = float(values.max()), float(last(run, "agreement").min())
        measured = (
            f"same class for {share:.0%} of the images; {noun} is {relative:.2g} "
            f"({seeds(len(run.seeds))})"
        )
        limits = {noun: (relative, SAME_LOGIT), "share of equal classes": (share, 1.0)}
        numbers = [single(name, x, len(run.seeds), limit) for name, (x, limit) in limits.items()]
        same = share == 1 and relative <= SAME_LOGIT
        return Decided(rule, numbers, measured, "supported" if same else "not supported", "")


class LostAlone(OneArm):
    """Is the accuracy of images alone below half of that together?"""

    def decide(self, run: Run, noun: str, values: xarray.DataArray) -> Decided:
        """Both accuracies in every seed."""
        rule = (
            f"{run.options['singles']} test images, last probe, every seed: supported if {noun} is "
            "below half of that with statistics of all together, else not supported"
        )
        together = last(run, "accuracy_together")
        measured = (
            f"{noun} is {float(values.max()):.0%}, together {float(together.min()):.0%} "
            f"({seeds(len(run.seeds))})"
        )
        numbers = [
            single("accuracy alone, largest", float(values.max()), len(run.seeds)),
            single("accuracy together, smallest", float(together.min()), len(run.seeds)),
        ]
        lost = bool((values < 0.5 * together).all())
        return Decided(rule, numbers, measured, "supported" if lost else "not supported", "")


CLAIMS = (
    Ratio(
        identifier="faster-{norm}-none",
        says="{norm} gets to a test accuracy sooner than no normalisation",
        quantity=Quantity(
            target,
            steps_to_test_accuracy,
            show=count,
            definition="the first of test_step, at least 1, at which test_accuracy is at or above "
            "it; infinite if there is none",
        ),
        at=(),
        source=f"{PAPER}, Fig. 1a",
        published=CURVES,
    ),
    Difference(
        identifier="accuracy-{norm}-none",
        says="{norm} ends at a higher test accuracy than no normalisation",
        quantity=ACCURACY,
        above="{norm}",
        below="none",
        source=f"{PAPER}, Fig. 1a",
        published=CURVES,
    ),
    Movement(
        identifier="fig1bc-run-{norm}",
        says="the inputs to the sigmoids move less along training with {norm}",
        quantity=Quantity(
            "the movement of the median sigmoid's input along the run",
            lambda run: wander(run).median("channel"),
            show="{:.2f}".format,
            definition="inputs_percentiles",
        ),
        at=(),
        source=f"{PAPER}, Fig. 1b, c",
        published="curves without numbers",
    ),
    Movement(
        identifier="fig1bc-probe-{norm}",
        says="the inputs to the sigmoids are more stable from probe to probe with {norm}",
        quantity=Quantity(
            "the movement of the median sigmoid's input to the next probe",
            drift,
            definition="inputs_percentiles, the spread that of the earlier probe",
        ),
        source=f"{PAPER}, Fig. 1b, c",
        published="curves without numbers",
    ),
    SameAlone(
        identifier="single-{norm}",
        says="{norm} classifies an image alone through running averages as among others",
        quantity=Quantity(
            "the largest difference of a logit over the largest logit",
            lambda run: last(run, "difference") / last(run, "largest"),
            definition="single_difference over single_largest, the same class where "
            "single_agreement is 1, statistics running",
        ),
        where={"statistics": "running"},
        source=f"{PAPER}, §3.1",
        published="by construction",
    ),
    LostAlone(
        identifier="single-own-{norm}",
        says="statistics of an image alone cannot serve {norm} to classify it",
        quantity=Quantity(
            "the accuracy with each image's own statistics",
            lambda run: last(run, "accuracy"),
            definition="single_accuracy against single_accuracy_together, statistics batch",
        ),
        where={"statistics": "batch"},
        when=lambda run, norm: models.norms.by_name(norm).batch_statistics,
        source=f"{PAPER}, §3.1",
        published="by construction",
    ),
)
