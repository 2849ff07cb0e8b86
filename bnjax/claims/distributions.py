"""The claims on the stability of activations: Santurkar et al. 2018, Fig. 1c, 2, 6, 8 and 9.

Stability is measured in two ways: how far a layer's distribution moves from one probe to the next,
and how far a single step moves the mean and variance of its units. All is relative to the layer's
own deviation, since a network whose activations are small moves them little in absolute terms.
Behind BatchNorm a unit's mean and variance over its own batch are β and γ² by construction, so what
a step changes in them is its change of β and γ² alone.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.stats

from bnjax.claims.claim import (
    CONFIDENCE,
    ONE_SEED_MARGIN,
    Claim,
    Comparison,
    Interval,
    Verdict,
    decide_ratio,
    format_interval,
    interval,
)
from bnjax.claims.landscape import MINIMUM_PAIRS, at_equal_loss, at_equal_step, why_not_trained
from bnjax.runs.results import Results

LEVELS = tuple(float(level) for level in range(5, 100, 5))  # percentiles a drift is taken over
MARGINAL = 2.0  # a difference of stability is marginal within this factor
ACCURACY_MARGIN = 0.02  # as accurate: no more than this below
ONE_SEED_ACCURACY = 0.01  # with one seed there is no interval: a difference is this wide
TARGET = 0.5  # of the loss of chance: the loss that the time is taken to
SLOWER = 1.5  # as fast: the target is reached no later than this factor
PAIRS = {"equal step": at_equal_step, "equal loss": at_equal_loss}

RULE = (
    "median over probed steps of the ratio {above}/{below} of {quantity}, in every shown layer, at "
    "equal step and at equal loss, only where both arms are below 0.9 of the loss of chance; "
    "geometric mean over seeds, 95 % t interval (one seed: a factor of 1.1); {verdict}; "
    "inconclusive otherwise, or if an arm is dead or diverged"
)
ABOVE_ONE = "supported if above 1 in all of them, not supported if below 1 in all of them"
NEAR_ONE = (
    f"supported if within a factor of {MARGINAL:g} in all of them, not supported if outside in "
    "any of them"
)


class Quantity(NamedTuple):
    """Something of one probed step and layer that a claim compares; larger means less stable."""

    identifier: str
    name: str
    values: Callable[[Results, str, int, str], np.ndarray]  # of norm, seed, layer: [probe_step]


class Ratios(NamedTuple):
    """A quantity of one arm over that of another, for each layer and kind of comparison."""

    found: dict[str, Comparison]  # by layer and comparison
    reasons: list[str]  # why no claim can rest on them


def field(results: Results, name: str, norm: str, seed: int, layer: str) -> np.ndarray:
    """A measured field of one layer, `[probe_step, …]`; `name` holds the probe's name."""
    return results.select(name, norm=norm, seed=seed, shown_layer=layer)


def drift(
    results: Results, norm: str, seed: int, layer: str, levels: str = "percentiles"
) -> np.ndarray:
    r"""How far a layer's distribution moves to the next probe, in its own deviations.

    $W_1(p, q) / \bar\sigma$ with the earth mover distance $W_1 = \int_0^1 |P^{-1} - Q^{-1}| du$
    taken as the mean distance of the percentiles 5, 10, …, 95 of the two probes, and
    $\bar\sigma$ the mean of the two deviations. The batch differs from probe to probe in every arm
    alike, so a drift holds the sampling of the batches too.

    Args:
      results: of a run with the probe `distributions`.
      norm: the arm.
      seed: likewise.
      layer: one of the shown ones.
      levels: `percentiles`, or `unit_percentiles` for those of one unit.

    Returns:
      `[probe_step]`; NaN at the last one.
    """
    quantiles = field(results, f"distributions.{levels}", norm, seed, layer)
    deviation = field(results, "distributions.deviation", norm, seed, layer)
    moved = np.abs(np.diff(quantiles, axis=0)).mean(axis=-1)
    return np.append(2 * moved / (deviation[1:] + deviation[:-1]), np.nan)


def unit_drift(results: Results, norm: str, seed: int, layer: str) -> np.ndarray:
    """`drift` of one unit's activations."""
    return drift(results, norm, seed, layer, "unit_percentiles")


def mean_change(
    results: Results, norm: str, seed: int, layer: str, probe: str = "distributions"
) -> np.ndarray:
    """|μ'_j − μ_j| of one step, averaged over units, in the layer's deviations."""
    deviation = field(results, "distributions.deviation", norm, seed, layer)
    return field(results, f"{probe}.mean_change", norm, seed, layer) / deviation


def variance_change(
    results: Results, norm: str, seed: int, layer: str, probe: str = "distributions"
) -> np.ndarray:
    """|σ'_j² − σ_j²| of one step, averaged over units, over the layer's squared deviation."""
    deviation = field(results, "distributions.deviation", norm, seed, layer)
    return field(results, f"{probe}.variance_change", norm, seed, layer) / deviation**2


def redrawn_mean_change(results: Results, norm: str, seed: int, layer: str) -> np.ndarray:
    """`mean_change` of one step and of the noise that is redrawn for the next one."""
    return mean_change(results, norm, seed, layer, "redrawn")


def redrawn_variance_change(results: Results, norm: str, seed: int, layer: str) -> np.ndarray:
    """`variance_change` of one step and of the noise that is redrawn for the next one."""
    return variance_change(results, norm, seed, layer, "redrawn")


QUANTITIES = (
    Quantity("drift", "the earth mover distance to the next probe", drift),
    Quantity("unit", "the earth mover distance of one unit to the next probe", unit_drift),
    Quantity("mean", "a step's change of the units' means (behind batch: of β)", mean_change),
    Quantity(
        "variance",
        "a step's change of the units' variances (behind batch: of γ²)",
        variance_change,
    ),
)
NOISY_QUANTITIES = (
    QUANTITIES[1],
    Quantity("mean", "the change of the units' means to the next step", redrawn_mean_change),
    Quantity(
        "variance", "the change of the units' variances to the next step", redrawn_variance_change
    ),
)


def claims(results: Results) -> list[Claim]:
    """The claims of Fig. 1c, 6, 8 and 9 for every normaliser that ran beside `none`."""
    norms = [str(norm) for norm in results.axes["norm"]]
    compared = [norm for norm in norms if norm != "none"] if "none" in norms else []
    stable = [decide(results, quantity, norm) for norm in compared for quantity in QUANTITIES]
    return [*stable, *([marginal(results)] if "batch" in compared else [])]


def decide(results: Results, quantity: Quantity, norm: str) -> Claim:
    """Decide whether a normaliser has more stable activations, or for ℓp norms less stable ones."""
    if norm in ("l1", "l2", "linf"):
        return compare(
            results,
            quantity,
            above=norm,
            below="none",
            identifier=f"fig6-{quantity.identifier}-{norm}",
            sentence=f"{norm} has less stable activations than no normalisation",
            source="Santurkar et al. 2018, §3.3 and Fig. 6",
        )
    return compare(
        results,
        quantity,
        above="none",
        below=norm,
        identifier=f"stable-{quantity.identifier}-{norm}",
        sentence=f"{norm} has more stable activations than no normalisation",
        source="Ioffe & Szegedy 2015, Fig. 1b, c; Santurkar et al. 2018, Fig. 1c, 8, 9 doubts it",
    )


def measure(results: Results, quantity: Quantity, above: str, below: str) -> Ratios:
    """The ratio of a quantity in every shown layer, at equal step and at equal loss."""
    reasons = [reason for arm in (above, below) if (reason := why_not_trained(results, arm))]
    found = {
        f"{layer} {name}": across_seeds(results, quantity, above, below, str(layer), name)
        for layer in results.axes["shown_layer"]
        for name in PAIRS
    }
    return Ratios(found, reasons or sorted({c.reason for c in found.values() if c.reason}))


def across_seeds(
    results: Results, quantity: Quantity, above: str, below: str, layer: str, name: str
) -> Comparison:
    """The ratio above/below of a quantity in one layer, median over pairs of steps, over seeds."""
    chance = results.facts["chance_loss"]
    ratios = []
    for seed in results.axes["seed"].tolist():
        left, right = PAIRS[name](
            probed_loss(results, above, seed), probed_loss(results, below, seed), chance
        )
        upper = quantity.values(results, above, seed, layer)[left]
        lower = quantity.values(results, below, seed, layer)[right]
        usable = np.isfinite(upper) & np.isfinite(lower) & (upper > 0) & (lower > 0)
        if usable.sum() < MINIMUM_PAIRS:
            return Comparison(name, None, f"fewer than {MINIMUM_PAIRS} pairs of steps at {name}")
        ratios.append(float(np.median(upper[usable] / lower[usable])))
    return Comparison(name, interval(ratios))


def probed_loss(results: Results, norm: str, seed: int) -> np.ndarray:
    """The minibatch loss at the probed steps."""
    return results.select("train.loss", norm=norm, seed=seed)[results.axes["probe_step"]]


def describe(found: dict[str, Comparison]) -> str:
    """The ratios as the claims table shows them."""
    return "; ".join(
        f"{name} {format_interval(c.ratio) if c.ratio else 'not measured'}"
        for name, c in found.items()
    )


def compare(
    results: Results,
    quantity: Quantity,
    *,
    above: str,
    below: str,
    identifier: str,
    sentence: str,
    source: str,
) -> Claim:
    """Decide whether a quantity is larger in one arm than in another."""
    found, reasons = measure(results, quantity, above, below)
    verdicts = {
        name: decide_ratio(c.ratio) if c.ratio else "inconclusive" for name, c in found.items()
    }
    verdict: Verdict = "inconclusive"
    if not reasons and len(set(verdicts.values())) == 1:
        verdict = next(iter(verdicts.values()))
    if not reasons and verdict == "inconclusive":
        grouped = {
            each: ", ".join(name for name, own in verdicts.items() if own == each)
            for each in dict.fromkeys(verdicts.values())
        }
        reasons = [f"{each} for {names}" for each, names in grouped.items()]
    return Claim(
        identifier=identifier,
        sentence=f"{sentence}, by {quantity.name}",
        source=source,
        rule=RULE.format(above=above, below=below, quantity=quantity.name, verdict=ABOVE_ONE),
        measured=f"{above}/{below}: {describe(found)}",
        published="curves without numbers",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def marginal(results: Results) -> Claim:
    """Decide whether BatchNorm's difference in stability is marginal."""
    quantities = [quantity for quantity in QUANTITIES if quantity.identifier != "unit"]
    measured = {q.identifier: measure(results, q, "none", "batch") for q in quantities}
    reasons = list(dict.fromkeys(r for ratios in measured.values() for r in ratios.reasons))
    bounds = {
        f"{identifier} in {name}": limits(c.ratio)
        for identifier, ratios in measured.items()
        for name, c in ratios.found.items()
        if c.ratio
    }
    outside = [
        name for name, (low, high) in bounds.items() if low > MARGINAL or high < 1 / MARGINAL
    ]
    inside = all(low > 1 / MARGINAL and high < MARGINAL for low, high in bounds.values())
    verdict: Verdict = "inconclusive"
    if not reasons and (inside or outside):
        verdict = "supported" if inside else "not supported"
        reasons = [] if inside else [f"beyond a factor of {MARGINAL:g}: {', '.join(outside)}"]
    elif not reasons:
        reasons = [f"an interval holds a factor of {MARGINAL:g}"]
    extremes = [value for pair in bounds.values() for value in pair]
    return Claim(
        identifier="fig1c-batch",
        sentence="the difference in distributional stability that batch makes is marginal",
        source="Santurkar et al. 2018, §2 and Fig. 1c",
        rule=RULE.format(
            above="none",
            below="batch",
            quantity=", ".join(quantity.name for quantity in quantities),
            verdict=NEAR_ONE,
        ),
        measured=f"none/batch from {min(extremes):.3g} to {max(extremes):.3g}, with intervals"
        if extremes
        else "not measured",
        published="'marginal', without a number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def limits(ratio: Interval) -> tuple[float, float]:
    """The interval of a ratio; with one seed a factor of 1.1 either way."""
    if ratio.seeds > 1:
        return ratio.low, ratio.high
    return ratio.centre / ONE_SEED_MARGIN, ratio.centre * ONE_SEED_MARGIN


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
    accuracies = {
        norm: results.select("test.accuracy", norm=norm)[:, -1] for norm in ("noisy_batch", "batch")
    }
    reasons = [reason for norm in accuracies if (reason := why_not_trained(results, norm))]
    differences = accuracies["noisy_batch"] - accuracies["batch"]
    half = ONE_SEED_ACCURACY
    if len(differences) > 1:
        spread = scipy.stats.sem(differences)
        half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1) * spread)
    centre = float(differences.mean())
    verdict: Verdict = "inconclusive"
    if not reasons and centre - half > -ACCURACY_MARGIN:
        verdict = "supported"
    elif not reasons and centre + half < -ACCURACY_MARGIN:
        verdict = "not supported"
    elif not reasons:
        reasons = [f"the interval holds −{ACCURACY_MARGIN:g}"]
    ends = ", ".join(
        f"{norm} {results.select('test.accuracy', norm=norm)[:, -1].mean():.3f} (training loss "
        f"{final_loss(results, str(norm)):.3g})"
        for norm in results.axes["norm"]
    )
    seeds = "one seed" if len(differences) == 1 else f"{len(differences)} seeds"
    yield Claim(
        identifier="fig2-accuracy",
        sentence="noisy_batch ends as accurate as batch",
        source="Santurkar et al. 2018, Fig. 2",
        rule=(
            "test accuracy after the last step, noisy_batch minus batch, 95 % t interval over "
            f"seeds (one seed: ±{ONE_SEED_ACCURACY:g}): supported if above −{ACCURACY_MARGIN:g}, "
            f"not supported if below −{ACCURACY_MARGIN:g}, else inconclusive; inconclusive if "
            "an arm is dead or diverged"
        ),
        measured=f"difference {centre:+.3f} ± {half:.3f} ({seeds}); at the end: {ends}",
        published="late minibatch accuracy: none 99.6 %, batch 98.6 %, noisy_batch 97.9 %",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def final_loss(results: Results, norm: str) -> float:
    """Median minibatch loss over the last tenth of the steps and all seeds."""
    losses = results.select("train.loss", norm=norm)
    return float(np.median(losses[:, -max(1, losses.shape[1] // 10) :]))


def time_to_target(results: Results, norm: str, seed: int) -> tuple[int, bool]:
    """Steps until the loss is half that of chance, and whether the run got there.

    The loss is the median over the last fiftieth of the steps (at least 5), so that one easy batch
    does not count. A run that does not get there gives its number of steps.
    """
    losses = results.select("train.loss", norm=norm, seed=seed)
    window = min(len(losses), max(5, len(losses) // 50))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(losses, window), axis=-1)
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
    reasons = [
        reason for norm in ("noisy_batch", other) if (reason := why_not_trained(results, norm))
    ]
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
            f"{TARGET:g} of that of chance; geometric mean over seeds, 95 % t interval (one seed: "
            f"a factor of 1.1): supported if above {1 / allowance:.3g}, not supported if below; a "
            "run that does not get there counts with all its steps; inconclusive otherwise, or if "
            "an arm is dead or diverged"
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
            "supported if noise is dead (its late loss at or above 0.9 of that of chance) or "
            "diverged in some seed, not supported if it trains in all; inconclusive if none itself "
            "does not train"
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
