"""The claims on noisy BatchNorm: Santurkar et al. 2018, §2.1 and Fig. 2.

Noise that shifts every distribution at every step makes BatchNorm less stable than no
normalisation, and yet it trains as well as BatchNorm without.
"""

from collections.abc import Callable, Iterator

import numpy as np

from bnjax.frame.results import Results, last_rows
from bnjax.judge.claim import (
    RATIO_RULE,
    T_INTERVAL,
    Claim,
    Verdict,
    decide_ratio,
    difference,
    difference_bounds,
    format_interval,
    interval,
)
from bnjax.judge.curves import smooth
from bnjax.judge.pairs import TRAINED, reasons_against, why_not_trained
from bnjax.studies.distributions.claims import (
    QUANTITIES,
    Quantity,
    compare,
    mean_change,
    variance_change,
)

ACCURACY_MARGIN = 0.02  # as accurate: no more than this below
ONE_SEED_ACCURACY = 0.01  # with one seed there is no interval: a difference is this wide
TARGET = 0.5  # of the loss of chance: the loss that the time is taken to
SLOWER = 1.5  # as fast: the target is reached no later than this factor


NOISY_QUANTITIES = (
    QUANTITIES[1],
    Quantity("mean", "the change of the units' means to the next step and noise", mean_change),
    Quantity(
        "variance", "the change of the units' variances to the next step and noise", variance_change
    ),
)


def noise_claims(results: Results) -> list[Claim]:
    """The claims of Fig. 2, as far as the arms that they compare ran."""
    norms = {str(norm) for norm in results.axes["norm"]}
    return [claim for needed, made in NOISE_CLAIMS if needed <= norms for claim in made(results)]


def less_stable(results: Results) -> Iterator[Claim]:
    """BatchNorm with noise has less stable distributions than the standard network."""
    for quantity in NOISY_QUANTITIES:
        yield compare(
            results,
            quantity,
            above="noisy_batch",
            below="none",
            identifier=f"fig2-{quantity.identifier}",
            sentence="noisy_batch has less stable activations than no normalisation",
            source="Santurkar et al. 2018, §2.1, Fig. 2 and 8",
        )


def as_accurate(results: Results) -> Iterator[Claim]:
    """BatchNorm with noise ends as accurate as BatchNorm."""
    accuracies = {norm: late_accuracy(results, norm) for norm in ("noisy_batch", "batch")}
    reasons = reasons_against(results, accuracies)
    differences = accuracies["noisy_batch"] - accuracies["batch"]
    estimate = difference(differences.tolist())
    low, high = difference_bounds(estimate, ONE_SEED_ACCURACY)
    centre = estimate.centre
    verdict: Verdict = "inconclusive"
    if not reasons and low > -ACCURACY_MARGIN:
        verdict = "supported"
    elif not reasons and high < -ACCURACY_MARGIN:
        verdict = "not supported"
    elif not reasons:
        reasons = [f"the interval holds −{ACCURACY_MARGIN:g}"]
    ends = ", ".join(
        f"{norm} {late_accuracy(results, norm).mean():.3f} (loss {final_loss(results, norm):.3g}, "
        f"test {results.select('test.accuracy', norm=norm)[:, -1].mean():.3f})"
        for norm in map(str, results.axes["norm"])
    )
    seeds = "one seed" if len(differences) == 1 else f"{len(differences)} seeds"
    yield Claim(
        identifier="fig2-accuracy",
        sentence="noisy_batch ends as accurate as batch",
        source="Santurkar et al. 2018, Fig. 2",
        rule=(
            "training minibatch accuracy, mean of the last tenth of the steps, noisy_batch minus "
            f"batch, {T_INTERVAL} over seeds (one seed: ±{ONE_SEED_ACCURACY:g}): supported if "
            f"above −{ACCURACY_MARGIN:g}, not supported if below −{ACCURACY_MARGIN:g}, else "
            "inconclusive; inconclusive if an arm is dead or diverged"
        ),
        measured=f"difference {centre:+.3f} ± {high - centre:.3f} ({seeds}); at the end: {ends}",
        published="late minibatch accuracy: none 99.6 %, batch 98.6 %, noisy_batch 97.9 %",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def late_accuracy(results: Results, norm: str) -> np.ndarray:
    """Mean minibatch accuracy over the last tenth of the steps, `[seed]`.

    Fig. 2 shows minibatches, too. On the test set a network that was trained with noise runs
    without it, under statistics that the noise has widened.
    """
    accuracies = results.select("train.accuracy", norm=norm)
    return accuracies[:, last_rows(accuracies.shape[1], 10)].mean(axis=1)


def final_loss(results: Results, norm: str) -> float:
    """Median minibatch loss over the last tenth of the steps and all seeds."""
    losses = results.select("train.loss", norm=norm)
    return float(np.median(losses[:, last_rows(losses.shape[1], 10)]))


def running_window(num_steps: int) -> int:
    """Minibatches whose median stands for a step: a fiftieth of all, at least 5."""
    return min(num_steps, max(5, num_steps // 50))


def time_to_target(results: Results, norm: str, seed: int) -> tuple[int, bool]:
    """Steps until the loss is half that of chance, and whether the run got there.

    The loss is the median over the last fiftieth of the steps (at least 5), so that one easy batch
    does not count. A run that does not get there gives its number of steps.
    """
    losses = results.select("train.loss", norm=norm, seed=seed)
    window = running_window(len(losses))
    medians = smooth(losses, window)[window - 1 :]
    reached = np.flatnonzero(medians < TARGET * results.facts["chance_loss"])
    return (int(reached[0]) + window, True) if len(reached) else (len(losses), False)


def as_fast(results: Results) -> Iterator[Claim]:
    """BatchNorm with noise trains as fast as BatchNorm."""
    yield faster(results, "batch", SLOWER, f"is as fast as batch, within a factor of {SLOWER:g}")


def faster_than_none(results: Results) -> Iterator[Claim]:
    """BatchNorm with noise trains faster than the standard network."""
    yield faster(results, "none", 1.0, "trains faster than no normalisation")


def faster(results: Results, other: str, allowance: float, sentence: str) -> Claim:
    """Decide whether BatchNorm with noise reaches the target before `other` does."""
    reasons = reasons_against(results, ("noisy_batch", other))
    seeds = results.axes["seed"].tolist()
    times = {
        norm: [time_to_target(results, norm, seed) for seed in seeds]
        for norm in ("noisy_batch", other)
    }
    if not all(reached for _, reached in times["noisy_batch"]):
        reasons.append(f"noisy_batch does not reach {TARGET:g} of the loss of chance")
    # Where `other` does not get there its true time, and so the ratio, is larger than this.
    ratio = interval(
        [b / a for (a, _), (b, _) in zip(times["noisy_batch"], times[other], strict=True)]
    )
    allowed = ratio._replace(
        centre=allowance * ratio.centre, low=allowance * ratio.low, high=allowance * ratio.high
    )
    verdict: Verdict = "inconclusive" if reasons else decide_ratio(allowed)
    censored = not all(reached for _, reached in times[other])
    if censored and verdict == "not supported":
        verdict, reasons = "inconclusive", [f"{other} does not reach the target"]
    elif verdict == "inconclusive" and not reasons:
        reasons = [f"the interval holds {1 / allowance:.3g}"]
    return Claim(
        identifier=f"fig2-time-{other}",
        sentence=f"noisy_batch {sentence}",
        source="Santurkar et al. 2018, Fig. 2",
        rule=(
            f"ratio {other}/noisy_batch of the steps until the minibatch loss (running median) is "
            f"{TARGET:g} of that of chance; {RATIO_RULE}: supported if above "
            f"{1 / allowance:.3g}, not supported if below; a run that does not get there counts "
            "with all its steps; inconclusive otherwise, or if an arm is dead or diverged"
        ),
        measured=f"{other}/noisy_batch {'at least ' if censored else ''}{format_interval(ratio)}; "
        + ", ".join(f"{norm} {np.mean([t for t, _ in own]):.0f}" for norm, own in times.items())
        + " steps",
        published="minibatch accuracy, mean of the first 1500 steps: none 41 %, batch 69 %, "
        "noisy_batch 64 %",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def noise_alone_fails(results: Results) -> Iterator[Claim]:
    """The same noise keeps the standard network from training."""
    standard, noise = (why_not_trained(results, norm) for norm in ("none", "noise"))
    verdict: Verdict = "supported" if noise else "not supported"
    yield Claim(
        identifier="fig2-noise",
        sentence="the same noise keeps the network without BatchNorm from training",
        source="Santurkar et al. 2018, §2.1 and Fig. 2",
        rule=(
            f"supported if noise is dead (its late loss at or above {TRAINED:g} of that of chance) "
            "or diverged in some seed, not supported if it trains in all; inconclusive if none "
            "itself does not train"
        ),
        measured=f"late training loss: none {final_loss(results, 'none'):.3g}, noise "
        f"{final_loss(results, 'noise'):.3g}, chance {results.facts['chance_loss']:.3g}",
        published="'prevents it from training entirely'",
        verdict="inconclusive" if standard else verdict,
        reason=standard or noise,
    )


NOISE_CLAIMS: tuple[tuple[set[str], Callable[[Results], Iterator[Claim]]], ...] = (
    ({"none", "noisy_batch"}, less_stable),
    ({"batch", "noisy_batch"}, as_accurate),
    ({"batch", "noisy_batch"}, as_fast),
    ({"none", "noisy_batch"}, faster_than_none),
    ({"none", "noise"}, noise_alone_fails),
)
