"""The claims of Ghorbani et al. 2019 on the Hessian's spectrum, and where its edge stands.

Each comparison of two networks is made at equal step and at equal loss, and a claim that rests on
an arm that is dead or diverged is inconclusive (`claims.pairs`).
"""

import numpy as np

from bnjax.frame.results import Results, last_rows
from bnjax.judge.claim import RATIO_RULE, Claim, Comparison, Verdict
from bnjax.judge.pairs import (
    TRAINED,
    agreement,
    beside_none,
    compare_pairs,
    describe,
    ratio_over_seeds,
    reasons_against,
    why_not_trained,
)
from bnjax.studies.spectrum.spectrum_terms import (
    Measure,
    concentration,
    isolation,
    loss,
    sharpness,
    spread,
    trained,
)

EDGE_TOLERANCE = 0.25  # how near to 1 λ₁ · lr / 2 must be
CONCENTRATED = 0.5  # a share of the gradient from which on it is called concentrated
PAPER = "Ghorbani et al. 2019 (1901.10159)"
PUBLISHED = "without normalisation large isolated eigenvalues; with it almost absent; no number"
PUBLISHED_GRADIENT = (
    "without normalisation a surprising concentration in the top eigenspace; with it almost "
    "absent; no number"
)
RULE = (
    "median over probed steps of the ratio {ratio} of {quantity}, {where}, only where the "
    f"probed loss is below {TRAINED:g} of that of chance; "
    f"{RATIO_RULE}; {{decision}}; inconclusive if an arm is dead or diverged"
)
TWO = (
    "at equal step and at equal loss",
    "supported if above 1 in both comparisons, not supported if below 1 in both, else inconclusive",
)
ONE = (
    "the same weights under both",
    "supported if above 1, not supported if below 1, else inconclusive",
)


def claims(results: Results) -> list[Claim]:
    """All claims for every normaliser that ran beside `none`, and each arm's edge."""
    norms = [str(norm) for norm in results.axes["norm"]]
    statistics = [str(kind) for kind in results.axes["statistics"]]
    first = statistics[0]
    found: list[Claim] = []
    for norm in beside_none(results):
        found += [outliers(results, norm, first), gradient(results, norm, first)]
    for norm in norms:
        if "batch" in statistics and keeps_statistics(results, norm):
            found += [returning(results, norm, kind) for kind in statistics if kind != "batch"]
    return [*found, *(edge(results, norm, first) for norm in norms)]


def keeps_statistics(results: Results, norm: str) -> bool:
    """Whether the arm's spectrum depends on the statistics at all."""
    largest = results.select("spectrum.largest", norm=norm)
    axis = results.dims["spectrum.largest"].index("statistics") - 1
    first, last = largest.take(0, axis=axis), largest.take(-1, axis=axis)
    return not np.array_equal(first, last, equal_nan=True)


def between(results: Results, measure: Measure, norm: str, statistics: str) -> list[Comparison]:
    """The ratio none/norm of a quantity in both comparisons."""
    return compare_pairs(
        results,
        losses=lambda arm, seed: loss(results, arm, seed, statistics),
        values=lambda arm, seed: measure(results, arm, seed, statistics),
        above="none",
        below=norm,
    )


def outliers(results: Results, norm: str, statistics: str) -> Claim:
    """Decide whether the largest eigenvalues stand out more without `norm`."""
    reasons = reasons_against(results, ("none", norm))
    comparisons = between(results, isolation, norm, statistics)
    verdict, reasons = agreement(comparisons, reasons)
    beside = describe(between(results, spread, norm, statistics))
    return Claim(
        identifier=f"outliers-{norm}",
        sentence=f"outliers of the Hessian's spectrum stand out less with {norm}",
        source=PAPER,
        rule=RULE.format(
            ratio=f"none/{norm}",
            quantity=f"λ1/λ{count(results)} under {statistics} statistics",
            where=TWO[0],
            decision=TWO[1],
        )
        + "; λ1 over the density's standard deviation is shown, not decided",
        measured=f"{describe(comparisons)}; λ1 over the density's deviation: {beside}; "
        f"medians of λ1/λ{count(results)}: {medians(results, isolation, ('none', norm))}",
        published=PUBLISHED,
        verdict=verdict,
        reason="; ".join(reasons),
    )


def gradient(results: Results, norm: str, statistics: str) -> Claim:
    """Decide whether the gradient is concentrated in the top eigenspace without `norm` only."""
    reasons = reasons_against(results, ("none", norm))
    comparisons = between(results, concentration, norm, statistics)
    verdict, reasons = agreement(comparisons, reasons)
    seeds = results.axes["seed"].tolist()
    left = np.median([trained(results, norm, seed, statistics) for seed in seeds])
    if verdict == "supported" and not left < CONCENTRATED:
        verdict = "inconclusive"
        reasons = [f"smaller with {norm}, but {left:.2f} of it is still in the top eigenspace"]
    return Claim(
        identifier=f"gradient-{norm}",
        sentence=f"the gradient is concentrated in the top eigenspace without {norm}, not with it",
        source=PAPER,
        rule=RULE.format(
            ratio=f"none/{norm}",
            quantity=f"‖P∇L‖²/‖∇L‖², P on the top {count(results)}, under {statistics} statistics",
            where=TWO[0],
            decision=TWO[1],
        )
        + f"; inconclusive too if the median share of {norm} is not below {CONCENTRATED}",
        measured=f"{describe(comparisons)}; medians of the share: "
        f"{medians(results, concentration, ('none', norm))}",
        published=PUBLISHED_GRADIENT,
        verdict=verdict,
        reason="; ".join(reasons),
    )


def returning(results: Results, norm: str, statistics: str) -> Claim:
    """Decide whether outliers return when the statistics do not depend on the weights."""
    why = why_not_trained(results, norm)

    def ratio(name: str, measure: Measure) -> Comparison:
        return ratio_over_seeds(
            results,
            f"{name} at equal step",
            losses=lambda _, seed: loss(results, norm, seed, "batch"),
            values=lambda kind, seed: measure(results, norm, seed, kind),
            above=statistics,
            below="batch",
        )

    comparisons = [ratio("λ1/λK", isolation), ratio("λ1", sharpness)]
    verdict, reasons = agreement(comparisons[:1], [why] if why else [])
    return Claim(
        identifier=f"return-{norm}-{statistics}",
        sentence=f"the outliers return when {norm} normalises with {statistics} statistics",
        source=f"{PAPER}; there networks also train with population statistics",
        rule=RULE.format(
            ratio=f"{statistics}/batch statistics",
            quantity=f"λ1/λ{count(results)}",
            where=ONE[0],
            decision=ONE[1],
        )
        + "; the ratio of λ1 is shown, not decided",
        measured=describe(comparisons),
        published="outliers as without normalisation; no number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def edge(results: Results, norm: str, statistics: str) -> Claim:
    """Whether the late λ₁ stands at 2/lr, the edge of stability of plain gradient descent."""
    late = last_rows(len(results.axes["probe_step"]), 4)
    seeds = results.axes["seed"].tolist()
    values = np.array([sharpness(results, norm, seed, statistics)[late] for seed in seeds])
    relative = np.full(values.shape[1], np.nan)
    if np.isfinite(values).all():
        relative = np.median(values, axis=0) * results.config["lr"] / 2
    reason = why_not_trained(results, norm)
    if results.config["optimizer"] != "sgd":
        reason = f"2/lr is the edge of plain SGD, not of {results.config['optimizer']}"
    verdict: Verdict = "inconclusive"
    if not reason and (np.abs(relative - 1) < EDGE_TOLERANCE).all():
        verdict, reason = "supported", "the largest eigenvalue stands at the edge"
    elif not reason:
        side = "below" if (relative < 1).all() else "above" if (relative > 1).all() else "not at"
        reason = f"λ1 is {side} 2/lr: no edge of stability is seen here"
    return Claim(
        identifier=f"edge-{norm}",
        sentence=f"the late largest eigenvalue of {norm} stands at the edge of stability, 2/lr",
        source="Cohen et al. 2021 (2103.00065), of full-batch gradient descent",
        rule=(
            f"λ1·lr/2 under {statistics} statistics, median over seeds: supported if within "
            f"{EDGE_TOLERANCE} of 1 at every probe of the last quarter, else inconclusive; "
            "inconclusive for a dead arm"
        ),
        measured=f"λ1·lr/2 from {relative.min():.3g} to {relative.max():.3g}",
        published="2/lr in full-batch training; under SGD lower",
        verdict=verdict,
        reason=reason,
    )


def count(results: Results) -> int:
    """K, the number of eigenvalues that are called the top."""
    return int(results.axes["rank"][-1])


def medians(results: Results, measure: Measure, norms: tuple[str, str]) -> str:
    """Medians over probed steps and seeds, for each arm and kind of statistics."""
    parts = []
    for norm in norms:
        kinds = [str(kind) for kind in results.axes["statistics"]]
        for kind in kinds if keeps_statistics(results, norm) else kinds[:1]:
            rows = [measure(results, norm, seed, kind) for seed in results.axes["seed"].tolist()]
            value = np.nanmedian(rows) if np.isfinite(rows).any() else np.nan
            label = f"{norm} ({kind})" if keeps_statistics(results, norm) else norm
            parts.append(f"{label} {value:.3g}")
    return ", ".join(parts)
