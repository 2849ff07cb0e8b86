"""The claims on noisy BatchNorm: Santurkar et al. 2018, §2.1 and Fig. 2.

Noise that shifts every distribution at every step makes BatchNorm less stable than no
normalisation, and yet it trains as well as BatchNorm without noise.
"""

from collections.abc import Iterator
from typing import Any

import xarray

from bnjax.frame.results import Run, late
from bnjax.judge.compare import DEAD, DIVERGED, LAST_TENTH, why_not_trained
from bnjax.judge.curves import count, first_step, percent, smooth
from bnjax.judge.kit import Above, Condition, Difference, Quantity, Ratio
from bnjax.judge.verdict import Decision, Scale, Verdict, label
from bnjax.studies.distributions import claims as distributions

ACCURACY_MARGIN = 0.02  # as accurate: no more than this below
MINIBATCHES = Scale(0.01, factor=100.0, unit=" points")  # a point of minibatch accuracy counts
TARGET = 0.5  # of the loss of chance: the loss that the time is taken to
SLOWER = 1.5  # as fast: the target is reached no later than this factor
SOURCE = "Santurkar et al. 2018, Fig. 2"

# Between two steps the noise changes too.
MEASURES = {
    "unit": distributions.MEASURES["unit"],
    "mean": distributions.MEASURES["mean"]._replace(
        noun="the change of the channels' means to the next step and noise"
    ),
    "variance": distributions.MEASURES["variance"]._replace(
        noun="the change of the channels' variances to the next step and noise"
    ),
}


def late_accuracy(run: Run) -> xarray.DataArray:
    """Mean minibatch accuracy over the last tenth of the steps, `[norm, seed]`.

    Fig. 2 shows minibatches, too. On the test set a network that was trained with noise runs
    without it, under statistics that the noise has widened.
    """
    return late(run["train_accuracy"], "step", LAST_TENTH).mean("step", skipna=False)


def ends(run: Run, arms: tuple[Any, ...]) -> str:
    """How all arms end, means over seeds."""
    test = run["test_accuracy"].isel(test_step=-1).mean("seed")
    found = late_accuracy(run).mean("seed"), final_loss(run), test
    parts = []
    for norm in run.norms:
        accuracy, loss, tested = (float(values.sel(norm=norm)) for values in found)
        parts.append(f"{label(norm)} {percent(accuracy)} (loss {loss:.3g}, test {percent(tested)})")
    return f"At the end: {', '.join(parts)}"


def final_loss(run: Run) -> xarray.DataArray:
    """Median minibatch loss over the last tenth of the steps and all seeds, `[norm]`."""
    return late(run["train_loss"], "step", LAST_TENTH).median(["step", "seed"], skipna=False)


def running_window(num_steps: int) -> int:
    """Minibatches whose median stands for a step: a fiftieth of all, at least 5."""
    return min(num_steps, max(5, num_steps // 50))


def time_to_target(run: Run) -> xarray.DataArray:
    """Steps until the loss is half that of chance; inf where a run does not get there.

    The loss is the median over the last fiftieth of the steps (at least 5), so that one easy batch
    does not count.
    """
    losses = run["train_loss"]
    window = running_window(losses.sizes["step"])
    medians = losses.copy(data=smooth(losses.values, window)).isel(step=slice(window - 1, None))
    return first_step(medians < TARGET * run.facts["chance_loss"]) + (window - 1)


def why_never(run: Run, arms: tuple[Any, ...]) -> str:
    """That the noisy network does not reach the target in some seed."""
    reached = float(time_to_target(run).sel(norm="noisy_batch").max()) < float("inf")
    return "" if reached else f"{label('noisy_batch')} does not reach {TARGET:g} of that loss"


TIME = Quantity(
    f"the number of steps until the minibatch loss (running median) is {TARGET:g} of the loss of "
    "chance",
    time_to_target,
    show=count,
    definition="the first step, counted from 1, at which the median of train_loss over the last "
    "fiftieth of the steps (rounded down, at least 5, all of them seen) is below it; infinite if "
    "there is none",
)


def noise_alone_fails(run: Run) -> Iterator[Verdict]:
    """The same noise keeps the standard network from training."""
    if not {"none", "noise"} <= {*run.norms}:
        return
    standard, noise = (why_not_trained(run, norm) for norm in ("none", "noise"))
    found: Decision = "supported" if noise else "not supported"
    losses = ", ".join(
        f"{label(norm)} {float(final_loss(run).sel(norm=norm)):.3g}" for norm in ("none", "noise")
    )
    yield Verdict(
        "fig2-noise",
        "The same noise keeps the network without BatchNorm from training",
        "Santurkar et al. 2018, §2.1 and Fig. 2",
        f"supported if in some seed the network with noise alone {DIVERGED} or is {DEAD}, not "
        "supported if in none; inconclusive if so is that without noise and normalisation",
        f"Late training loss: {losses}, chance {run.facts['chance_loss']:.3g}",
        "'prevents it from training entirely'",
        "inconclusive" if standard else found,
        standard or noise,
    )


def sooner(other: str, says: str, rule: Above) -> Ratio:
    """The claim that BatchNorm with noise reaches the target before another arm does."""
    return Ratio(
        identifier=f"fig2-time-{other}",
        says=f"BatchNorm with noise {says}",
        quantity=TIME,
        above=other,
        below="noisy_batch",
        at=(),
        rule=rule,
        conditions=(Condition("BatchNorm with noise never gets there in some seed", why_never),),
        source=SOURCE,
        published="minibatch accuracy, mean of the first 1500 steps: 41 % without normalisation, "
        "69 % BatchNorm, 64 % BatchNorm + noise",
    )


CLAIMS = (
    *(
        Ratio(
            identifier=f"fig2-{name}",
            says="BatchNorm with noise has less stable activations than no normalisation, by "
            f"{measure.noun}",
            quantity=measure,
            above="noisy_batch",
            below="none",
            each="shown_layer",
            source="Santurkar et al. 2018, §2.1, Fig. 2 and 8",
            published="curves without numbers",
        )
        for name, measure in MEASURES.items()
    ),
    Difference(
        identifier="fig2-accuracy",
        says="BatchNorm with noise ends as accurate as BatchNorm",
        quantity=Quantity(
            "the accuracy on training minibatches, mean of the last tenth of the steps",
            late_accuracy,
            "lower",
            "higher",
            percent,
            "the mean of train_accuracy over the last tenth of the steps, rounded down",
        ),
        above="noisy_batch",
        below="batch",
        rule=Above(-ACCURACY_MARGIN),
        scale=MINIBATCHES,
        notes=ends,
        source=SOURCE,
        published="late minibatch accuracy: 99.6 % without normalisation, 98.6 % BatchNorm, 97.9 % "
        "BatchNorm + noise",
    ),
    sooner("batch", f"is as fast as BatchNorm, within a factor of {SLOWER:g}", Above(1 / SLOWER)),
    sooner("none", "trains faster than no normalisation", Above(1.0)),
    noise_alone_fails,
)
