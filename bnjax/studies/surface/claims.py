"""The claims of Li et al. 2018 on the arrays of a surface run.

There is one trained network an arm, so nothing can be compared at equal loss: each arm's loss at
the trained network stands beside what was measured, and no claim rests on an arm that is dead or
diverged (`claims.pairs`).
"""

import itertools

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge.claim import (
    A_FACTOR,
    RATIO_RULE,
    Claim,
    Comparison,
    Verdict,
    decide_difference,
    decide_ratio,
    difference,
    format_interval,
    interval,
    over_seeds,
)
from bnjax.judge.pairs import agreement, beside_none, describe, reasons_against, why_not_trained
from bnjax.studies.surface.surface_terms import NEGATIVE, SHARPNESS, nonconvexity, sharpness

ONE_SEED_DIFFERENCE = 0.05  # of shares, with one seed
TEST_ERROR_DIFFERENCE = 0.005  # below it two test errors count as equal
PUBLISHED_SHARE = (0.4, 0.9)  # of the variance in two components
RANDOM_WALK_SHARE = (
    6 / np.pi**2 * (1 + 1 / 4)
)  # of a long random walk (Antognini & Sohl-Dickstein 2018)


def claims(results: Results) -> list[Claim]:
    """All claims that the views of the run allow."""
    norms = [str(norm) for norm in results.axes["norm"]]
    compared = beside_none(results)
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


def flatter(results: Results, norm: str) -> Claim:
    """Whether `norm` ends in a flatter place than `none`."""
    reasons = reasons_against(results, ("none", norm))
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
            f"{SHARPNESS}; ratio none/{norm}, {RATIO_RULE}; supported above 1, not supported "
            "below 1, else inconclusive; inconclusive if an arm is dead or diverged"
        ),
        measured=f"{describe([comparison])}; {tell_centres(results, ('none', norm))}",
        published="no number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def more_convex(results: Results, norm: str) -> Claim:
    """Whether the plane through `norm`'s network is convex at more points than that of `none`."""
    reasons = reasons_against(results, ("none", norm))
    shares = {
        arm: [nonconvexity(results, arm, seed) for seed in results.axes["seed"].tolist()]
        for arm in ("none", norm)
    }
    change = difference((np.array(shares["none"]) - np.array(shares[norm])).tolist())
    verdict = decide_difference(change, ONE_SEED_DIFFERENCE)
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
            f"difference none − {norm}, {over_seeds('mean', f'±{ONE_SEED_DIFFERENCE}')}; "
            "supported above 0, not supported below 0, else inconclusive; inconclusive if an arm "
            "is dead or diverged"
        ),
        measured=f"not convex at {means}; difference {format_interval(change)}",
        published="no number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def generalisation(results: Results, norms: list[str]) -> Claim:
    """Whether the arms stand in the same order by sharpness and by test error."""
    seeds = results.axes["seed"].tolist()
    error = {norm: test_error(results, norm) for norm in norms}
    sharp = {norm: np.median([sharpness(results, norm, s) for s in seeds]) for norm in norms}
    reasons = reasons_against(results, norms)
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
            f"{SHARPNESS}, over seeds the median; every pair of trained arms that differ by "
            f"{A_FACTOR} in sharpness and by {TEST_ERROR_DIFFERENCE:.1%} in test error; "
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
            f"{RATIO_RULE}; supported above 1, not "
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
