"""The claims on normalisers against the batch size (Ba et al. 2016; Wu & He 2018).

At each batch size the arms are alike in all but the normaliser; across sizes each has seen the
same number of examples.
"""

import functools
from collections.abc import Sequence

import numpy as np

from bnjax import models
from bnjax.frame.results import Results
from bnjax.judge.claim import (
    ONE_SEED_POINTS,
    POINTS_RULE,
    RATIO_RULE,
    Claim,
    Verdict,
    decide_difference,
    decide_ratio,
    difference,
    difference_bounds,
    format_interval,
    format_points,
    interval,
)
from bnjax.judge.curves import percent, test_accuracy
from bnjax.judge.pairs import BELOW_CHANCE, probed_loss, ratio_over_seeds, reasons_against
from bnjax.studies.landscape import claims as landscape

FLAT_POINTS = 0.03  # accuracies within 3 points are called equal
SOURCE = "Wu & He 2018, Fig. 1 and Table 2; Ba, Kiros & Hinton 2016"
PUBLISHED = {
    "batch": "ImageNet, ResNet-50, error: 23.6 % at 32, 34.7 % at 2 a worker (Wu & He 2018)",
    "group": "ImageNet, ResNet-50, error: 24.1 to 24.2 % from 32 to 2 a worker (Wu & He 2018)",
    "layer": "curves without numbers, MNIST, batches of 128 and 4 (Ba et al. 2016, Fig. 6)",
}
DEAD = "inconclusive if an arm is dead or diverged"


def claims(results: Results) -> list[Claim]:
    """All claims: each normaliser across sizes, against BatchNorm, and the landscape."""
    norms = [str(norm) for norm in results.axes["norm"]]
    sizes = results.axes["batch_size"].tolist()
    found: list[Claim] = []
    if len(sizes) > 1:
        found += [across_sizes(results, norm, sizes[0], sizes[-1]) for norm in norms]
    if "batch" in norms:
        rivals = [norm for norm in norms if norm != "batch"]
        found += [ahead(results, norm, sizes[0]) for norm in rivals]
    if {"none", "batch"} <= set(norms) and len(sizes) > 1:
        found += [smoothing(results, quantity, sizes) for quantity in landscape.QUANTITIES]
    return found


def accuracies(results: Results, norm: str, size: int) -> list[float]:
    """Median test accuracy over the last tenth of the run, for each seed."""
    at_size = results.at(batch_size=size)
    return [test_accuracy(at_size, norm, seed) for seed in results.axes["seed"].tolist()]


def across_sizes(results: Results, norm: str, small: int, large: int) -> Claim:
    """BatchNorm is claimed to lose accuracy at the smallest batch, the others to be flat."""
    left, right = (accuracies(results, norm, size) for size in (large, small))
    loss = difference((np.array(left) - np.array(right)).tolist())
    low, high = difference_bounds(loss, ONE_SEED_POINTS)
    reasons = why_not(results, [norm], [small, large])
    degrades = models.norms.by_name(norm).batch_statistics
    verdict: Verdict = "inconclusive"
    if degrades:
        sentence = f"{norm} loses accuracy at a batch of {small} against {large}"
        decided = "supported if above 0, not supported if below"
        verdict = decide_difference(loss, ONE_SEED_POINTS)
    else:
        sentence = f"{norm} is as accurate at a batch of {small} as at {large}"
        decided = f"supported if within {100 * FLAT_POINTS:g} points of 0, not supported if outside"
        if -FLAT_POINTS < low <= high < FLAT_POINTS:
            verdict = "supported"
        elif low > FLAT_POINTS or high < -FLAT_POINTS:
            verdict = "not supported"
    shown = "; ".join(
        f"{size} {' '.join(map(percent, accuracies(results, norm, size)))}"
        for size in results.axes["batch_size"].tolist()
    )
    return claim(
        f"sizes-{norm}",
        sentence,
        f"test accuracy, median of the last tenth, at {large} minus at {small}, {POINTS_RULE}; "
        f"{decided}, else inconclusive; {DEAD}",
        f"{format_points(loss)}: {shown}",
        PUBLISHED.get(norm, ""),
        verdict,
        reasons,
    )


def ahead(results: Results, norm: str, size: int) -> Claim:
    """Whether another normaliser is more accurate than BatchNorm at the smallest batch."""
    own, rival = (np.array(accuracies(results, arm, size)) for arm in (norm, "batch"))
    lead = difference((own - rival).tolist())
    published = "10.5 points at 2 images a worker on ImageNet (Wu & He 2018)"
    return claim(
        f"ahead-{norm}-{size}",
        f"{norm} is more accurate than batch at a batch of {size}",
        f"test accuracy, median of the last tenth, {norm} − batch, {POINTS_RULE}; supported if "
        f"above 0, not supported if below, else inconclusive; {DEAD}",
        format_points(lead),
        published if norm == "group" else "",
        decide_difference(lead, ONE_SEED_POINTS),
        why_not(results, [norm, "batch"], [size]),
    )


def smoothing(results: Results, quantity: landscape.Quantity, sizes: Sequence[int]) -> Claim:
    """Whether what BatchNorm gains in the landscape shrinks with the batch."""
    gains = {size: gain(results.at(batch_size=size), quantity) for size in sizes}
    small, large = np.array(gains[sizes[0]]), np.array(gains[sizes[-1]])
    reasons = why_not(results, ["none", "batch"], [sizes[0], sizes[-1]])
    verdict: Verdict = "inconclusive"
    shown = "not measured"
    if np.isfinite(small).all() and np.isfinite(large).all():
        ratio = interval((large / small).tolist())
        verdict, shown = decide_ratio(ratio), format_interval(ratio)
    elif not reasons:
        reasons = ["too few probed steps at which both arms are below chance"]
    each = "; ".join(
        f"none/batch at {size}: {' '.join(f'{value:.3g}' for value in values)}"
        for size, values in gains.items()
    )
    return claim(
        f"shrinks-{quantity.identifier}",
        f"what batch gains over none in {quantity.name} shrinks with the batch size",
        f"median over probed steps of the ratio none/batch of {quantity.name} at equal step, where "
        f"both are {BELOW_CHANCE}; that ratio at {sizes[-1]} over that at "
        f"{sizes[0]}, {RATIO_RULE}; "
        f"supported if above 1, not supported if below, else inconclusive; {DEAD}",
        f"{shown}; {each}",
        "",
        verdict,
        reasons,
        source="Santurkar et al. 2018, Fig. 4, at each batch size; no number is published",
    )


def gain(results: Results, quantity: landscape.Quantity) -> list[float]:
    """The ratio none/batch of a quantity at equal step at one batch size, for each seed."""
    ratios = []
    for seed in results.axes["seed"].tolist():
        alone = results._replace(axes={**results.axes, "seed": np.array([seed])})
        comparison = ratio_over_seeds(
            alone,
            "equal step",
            # At a small batch the mean over a block of steps: see `records.in_blocks`.
            losses=functools.partial(probed_loss, results),
            values=functools.partial(quantity.values, results),
            above="none",
            below="batch",
        )
        ratios.append(comparison.ratio.centre if comparison.ratio else float("nan"))
    return ratios


def why_not(results: Results, norms: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Why no claim can rest on some arms at some sizes."""
    return [
        f"at {size} {reason}"
        for size in sizes
        for reason in reasons_against(results.at(batch_size=size), norms)
    ]


def claim(
    identifier: str,
    sentence: str,
    rule: str,
    measured: str,
    published: str,
    verdict: Verdict,
    reasons: Sequence[str],
    source: str = SOURCE,
) -> Claim:
    """A claim, inconclusive where there are reasons against any verdict."""
    verdict = "inconclusive" if reasons else verdict
    return Claim(
        identifier, sentence, source, rule, measured, published, verdict, "; ".join(reasons)
    )
