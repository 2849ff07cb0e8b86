"""The claims of Li et al. 2018 on the arrays of a surface run.

There is one trained network an arm, so nothing can be compared at equal loss: each arm's loss at
the trained network stands beside what was measured, and no claim rests on an arm that is dead or
diverged (`claims.pairs`).
"""

import itertools

import numpy as np

from bnjax.claims.claim import (
    Claim,
    Comparison,
    Interval,
    Verdict,
    decide_ratio,
    difference,
    format_interval,
    interval,
)
from bnjax.claims.pairs import agreement, describe, why_not_trained
from bnjax.runs.results import Results

NEAR = 0.5  # of a filter's norm: how far around the trained network sharpness is taken
NEGATIVE = 0.1  # of the largest |eigenvalue|: a curvature below minus this is not convex
ONE_SEED_DIFFERENCE = 0.05  # of shares, with one seed
TEST_ERROR_DIFFERENCE = 0.005  # below it two test errors count as equal
PUBLISHED_SHARE = (0.4, 0.9)  # of the variance in two components
RANDOM_WALK_SHARE = (
    6 / np.pi**2 * (1 + 1 / 4)
)  # of a long random walk (Antognini & Sohl-Dickstein 2018)

SEEDS_RULE = "over seeds, 95 % t interval"
SHARPNESS = (
    f"sharpness: mean of L(θ + a d) − L(θ) over |a| ≤ {NEAR} along filter-normalised random "
    "directions, median over directions"
)


def claims(results: Results) -> list[Claim]:
    """All claims that the views of the run allow."""
    norms = [str(norm) for norm in results.axes["norm"]]
    compared = [norm for norm in norms if norm != "none"] if "none" in norms else []
    found = []
    if "lines.losses" in results.arrays:
        found += [flatter(results, norm) for norm in compared]
    if "plane.losses" in results.arrays:
        found += [more_convex(results, norm) for norm in compared]
    is_classified = np.isfinite(results.arrays["test.accuracy"]).any()
    if "lines.losses" in results.arrays and len(norms) > 1 and is_classified:
        found.append(generalisation(results, norms))
    if "principal.shares" in results.arrays:
        found += [low_dimensional(results, norm) for norm in norms]
    return found


def sharpness(results: Results, norm: str, seed: int) -> float:
    """Mean rise of the loss near the trained network, median over lines; see `SHARPNESS`."""
    columns = results.select("lines.columns", norm=norm, seed=seed)
    losses = results.select("lines.losses", norm=norm, seed=seed)
    if np.isnan(losses).all():  # the arm diverged, and nothing was measured
        return np.nan
    rises = losses - losses[:, [losses.shape[1] // 2]]
    # Where the axis is coarse or short, its innermost points at least.
    reach = np.maximum(NEAR, np.abs(columns).min(axis=1, initial=np.inf, where=columns != 0))
    near = (columns != 0) & (np.abs(columns) <= reach[:, None] * (1 + 1e-6))
    return float(np.median(np.mean(rises, axis=1, where=near)))


def nonconvexity(results: Results, norm: str, seed: int) -> float:
    """Share of the plane's inner points at which the surface bends down in some direction."""
    lowest, highest = curvatures(results.select("plane.losses", norm=norm, seed=seed))
    largest = np.maximum(np.abs(lowest), np.abs(highest))
    return float(np.mean(lowest < -NEGATIVE * largest)) if np.isfinite(largest).all() else np.nan


def curvatures(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the discrete Hessian at the inner points of a grid of equal spacing.

    Args:
      losses: `[rows, columns]`.

    Returns:
      The lower and the upper one, each `[rows − 2, columns − 2]`, in loss over spacing squared.
    """
    centre = losses[1:-1, 1:-1]
    rows = losses[2:, 1:-1] - 2 * centre + losses[:-2, 1:-1]
    columns = losses[1:-1, 2:] - 2 * centre + losses[1:-1, :-2]
    mixed = (losses[2:, 2:] - losses[2:, :-2] - losses[:-2, 2:] + losses[:-2, :-2]) / 4
    mean, half = (rows + columns) / 2, np.hypot((rows - columns) / 2, mixed)
    return mean - half, mean + half


def flatter(results: Results, norm: str) -> Claim:
    """Whether `norm` ends in a flatter place than `none`."""
    reasons = [reason for arm in ("none", norm) if (reason := why_not_trained(results, arm))]
    ratios = [
        sharpness(results, "none", seed) / sharpness(results, norm, seed)
        for seed in results.axes["seed"].tolist()
    ]
    name = f"none/{norm}"
    comparison = Comparison(name, None, "a sharpness is not positive and finite")
    if all(0 < ratio < np.inf for ratio in ratios):
        comparison = Comparison(name, interval(ratios))
    verdict, reasons = agreement([comparison], reasons)
    return Claim(
        identifier=f"flatter-{norm}",
        sentence=f"{norm} ends in a flatter place than none, under filter normalisation",
        source="no published claim: the reading of Santurkar et al. 2018 by Li et al. 2018's means",
        rule=(
            f"{SHARPNESS}; ratio none/{norm}, geometric mean {SEEDS_RULE} (one seed: a factor of "
            "1.1); supported above 1, not supported below 1, else inconclusive; inconclusive if an "
            "arm is dead or diverged"
        ),
        measured=f"{describe([comparison])}; {tell_centres(results, ('none', norm))}",
        published="no number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def more_convex(results: Results, norm: str) -> Claim:
    """Whether the plane through `norm`'s network is convex at more points than that of `none`."""
    reasons = [reason for arm in ("none", norm) if (reason := why_not_trained(results, arm))]
    shares = {
        arm: [nonconvexity(results, arm, seed) for seed in results.axes["seed"].tolist()]
        for arm in ("none", norm)
    }
    change = difference((np.array(shares["none"]) - np.array(shares[norm])).tolist())
    verdict = decide_difference(change)
    if reasons:
        verdict = "inconclusive"
    elif verdict == "inconclusive":
        reasons = ["the interval holds 0, or a value is not finite"]
    means = ", ".join(f"{arm} {np.mean(share):.0%}" for arm, share in shares.items())
    return Claim(
        identifier=f"convex-{norm}",
        sentence=f"the surface around {norm}'s network is convex at more points than none's",
        source="no published claim: the reading of Santurkar et al. 2018 by Li et al. 2018's means",
        rule=(
            "share of the inner points of the filter-normalised plane at which the lower "
            f"eigenvalue of the discrete Hessian is below −{NEGATIVE} of the largest |eigenvalue|; "
            f"difference none − {norm}, mean {SEEDS_RULE} (one seed: ±{ONE_SEED_DIFFERENCE}); "
            "supported above 0, not supported below 0, else inconclusive; inconclusive if an arm "
            "is dead or diverged"
        ),
        measured=f"not convex at {means}; difference {format_interval(change)}",
        published="no number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def decide_difference(change: Interval) -> Verdict:
    """Whether a difference that the claim wants above 0 is."""
    low, high = change.low, change.high
    if change.seeds == 1:
        low, high = change.centre - ONE_SEED_DIFFERENCE, change.centre + ONE_SEED_DIFFERENCE
    return "supported" if low > 0 else "not supported" if high < 0 else "inconclusive"


def generalisation(results: Results, norms: list[str]) -> Claim:
    """Whether the arms stand in the same order by sharpness and by test error."""
    seeds = results.axes["seed"].tolist()
    error = {norm: test_error(results, norm) for norm in norms}
    sharp = {norm: np.median([sharpness(results, norm, s) for s in seeds]) for norm in norms}
    reasons = [reason for norm in norms if (reason := why_not_trained(results, norm))]
    trained = [norm for norm in norms if not why_not_trained(results, norm)]
    signs = []
    for left, right in itertools.combinations(trained, 2):
        ratio = decide_ratio(interval([sharp[left] / sharp[right]])) if sharp[right] > 0 else ""
        apart = abs(error[left] - error[right]) > TEST_ERROR_DIFFERENCE
        if apart and ratio in ("supported", "not supported"):
            signs.append((ratio == "supported") == (error[left] > error[right]))
    verdict: Verdict = "inconclusive"
    if not signs:
        reasons.append("no two trained arms differ in both")
    elif all(signs):
        verdict = "supported"
    elif not any(signs):
        verdict = "not supported"
    else:
        reasons.append(f"{sum(signs)} of {len(signs)} pairs agree")
    told = ", ".join(
        f"{norm} {sharp[norm]:.3g} / {error[norm]:.1%} / {gap(results, norm):.1%}" for norm in norms
    )
    return Claim(
        identifier="sharpness-error",
        sentence="under filter normalisation the sharper network generalises worse",
        source="Li et al. 2018, §5",
        rule=(
            f"{SHARPNESS}, over seeds the median; every pair of trained arms that differ by a "
            f"factor of 1.1 in sharpness and by {TEST_ERROR_DIFFERENCE:.1%} in test error; "
            "supported if all pairs have the larger error where the sharpness is larger, not "
            "supported if none has, else inconclusive"
        ),
        measured=f"sharpness / test error / generalisation gap: {told}",
        published=(
            "CIFAR-10, VGG-9, no decay: batch 128 flatter with test error 7.37 %, batch 8192 "
            "sharper with 11.07 %"
        ),
        verdict=verdict,
        reason="; ".join(reasons),
    )


def test_error(results: Results, norm: str) -> float:
    """Share of test images that are wrong after training, median over seeds."""
    return float(1 - np.median(results.select("test.accuracy", norm=norm)[:, -1]))


def gap(results: Results, norm: str) -> float:
    """Accuracy on the surface's training images, at its centre, less that on the test set."""
    accuracies = results.select("lines.accuracies", norm=norm)
    fitted = np.median(accuracies[:, 0, accuracies.shape[-1] // 2])
    return float(fitted - (1 - test_error(results, norm)))


def low_dimensional(results: Results, norm: str) -> Claim:
    """Whether two components hold as much of the path's variance as published."""
    reason = why_not_trained(results, norm)
    shares = results.select("principal.shares", norm=norm, path="principal")[:, :2].sum(axis=1)
    verdict: Verdict = "inconclusive"
    measured = "no path"
    if np.isfinite(shares).all():
        measured = format_interval(difference(shares.tolist()))
        if not reason:
            verdict = decide_ratio(interval((shares / PUBLISHED_SHARE[0]).tolist()))
            above = shares.mean() > PUBLISHED_SHARE[1]
            reason = "more than was published" if above else ""
    low, high = PUBLISHED_SHARE
    return Claim(
        identifier=f"path-{norm}",
        sentence=f"the training path of {norm} lies in few dimensions",
        source="Li et al. 2018, §7.2",
        rule=(
            f"share of the snapshots' variance in two principal components, over {low}, "
            f"geometric mean {SEEDS_RULE} (one seed: a factor of 1.1); supported above 1, not "
            "supported below 1, else inconclusive; inconclusive if the arm is dead or diverged"
        ),
        measured=measured,
        published=(
            f"{low} to {high}; a long random walk in many dimensions has {RANDOM_WALK_SHARE:.2f} "
            "(Antognini & Sohl-Dickstein 2018)"
        ),
        verdict=verdict,
        reason=reason,
    )


def tell_centres(results: Results, norms: tuple[str, ...]) -> str:
    """Each arm's sharpness and loss at the trained network, median over seeds."""
    parts = []
    for norm in norms:
        seeds = results.axes["seed"].tolist()
        sharp = np.median([sharpness(results, norm, seed) for seed in seeds])
        losses = results.select("lines.losses", norm=norm)
        parts.append(f"{norm} {sharp:.3g} / {np.median(losses[:, 0, losses.shape[-1] // 2]):.3g}")
    return f"sharpness / loss at the centre: {', '.join(parts)}"
