"""Claims on the size of gradients by kind of parameter, within one arm and between arms."""

import functools

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge.claim import RATIO_RULE, Claim, Comparison, Verdict, decide_ratio, interval
from bnjax.judge.pairs import (
    BELOW_CHANCE,
    agreement,
    compare_pairs,
    describe,
    probed_loss,
    reasons_against,
    why_not_trained,
)

SOURCE = "unpublished comparisons after Frankle et al. 2020 (2003.00152)"
CANCELLED = 1e-3  # of the mean |gradient| of β: below it a bias counts as without one
RULE = (
    "median over probed steps of the ratio {above}/{below} of the mean |gradient| per parameter; "
    f"{RATIO_RULE}; supported if above 1, "
    "not supported if below 1, else inconclusive; inconclusive for a dead or diverged arm"
)


def mean(results: Results, norm: str, seed: int, kind: str) -> np.ndarray:
    """Mean |gradient| of a kind of parameter, `[probe_step]`; NaN where an arm has none."""
    return results.select("magnitudes.mean", norm=norm, seed=seed, kind=kind)


def claims(results: Results) -> list[Claim]:
    """All claims that the arms of a run allow."""
    norms = [str(norm) for norm in results.axes["norm"]]
    found: list[Claim] = []
    for norm in norms:
        has = functools.partial(present, results, norm)
        found += [larger(results, norm, kind) for kind in ("scale", "shift") if has(kind)]
        found += [cancelled(results, norm)] if has("cancelled_bias") and has("shift") else []
    if {"none", "batch"} <= set(norms):
        found.append(kernels(results))
    return found


def present(results: Results, norm: str, kind: str) -> bool:
    """Whether an arm has parameters of a kind."""
    values = results.select("magnitudes.mean", norm=norm, kind=kind)
    return bool(np.isfinite(values).any())


def within(results: Results, norm: str, above: str, below: str) -> Comparison:
    """The ratio of two kinds in one arm, median over steps, geometric mean over seeds."""
    name = f"{above}/{below} of {norm}"
    ratios = []
    for seed in results.axes["seed"].tolist():
        ratio = mean(results, norm, seed, above) / mean(results, norm, seed, below)
        ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
        if not len(ratio):
            return Comparison(name, None, f"{name} could not be formed at any step")
        ratios.append(float(np.median(ratio)))
    return Comparison(name, interval(ratios))


def larger(results: Results, norm: str, kind: str) -> Claim:
    """Decide whether a normaliser's own parameters have the larger gradients."""
    comparison = within(results, norm, kind, "kernel")
    reason = why_not_trained(results, norm) or comparison.reason
    verdict: Verdict = "inconclusive"
    if comparison.ratio and not reason:
        verdict = decide_ratio(comparison.ratio)
        reason = "the interval holds 1" if verdict == "inconclusive" else ""
    letter = {"scale": "γ", "shift": "β"}[kind]
    return Claim(
        identifier=f"{kind}-{norm}",
        sentence=f"{letter} of {norm} has larger gradients, per parameter, than kernels",
        source=SOURCE,
        rule=RULE.format(above=kind, below="kernel"),
        measured=describe([comparison]),
        published="no number is known",
        verdict=verdict,
        reason=reason,
    )


def cancelled(results: Results, norm: str) -> Claim:
    """Decide whether biases before a normaliser of the batch have no gradient."""
    shares = [
        mean(results, norm, seed, "cancelled_bias") / mean(results, norm, seed, "shift")
        for seed in results.axes["seed"].tolist()
    ]
    largest = float(np.nanmax(shares))
    return Claim(
        identifier=f"cancelled-{norm}",
        sentence=f"biases before {norm} have no gradient",
        source="Ioffe & Szegedy 2015 (1502.03167), §3.2: the bias is cancelled by the mean",
        rule=(
            "mean |gradient| of these biases over that of β, the largest of all probed steps and "
            f"seeds; supported if below {CANCELLED:g}, else not supported"
        ),
        measured=f"{largest:.2g} of that of β",
        published="zero, by algebra",
        verdict="supported" if largest < CANCELLED else "not supported",
        reason="",
    )


def kernels(results: Results) -> Claim:
    """Decide whether the kernels' gradients are larger without normalisation."""
    reasons = reasons_against(results, ("none", "batch"))
    comparisons = compare_pairs(
        results,
        losses=functools.partial(probed_loss, results),
        values=functools.partial(mean, results, kind="kernel"),
        above="none",
        below="batch",
    )
    verdict, reasons = agreement(comparisons, reasons)
    return Claim(
        identifier="kernel-batch",
        sentence="batch makes the gradients of kernels smaller",
        source="Bjorck et al. 2018 (1806.02375): without it gradients are larger",
        rule=(
            "median over probed steps of the ratio none/batch of the kernels' mean |gradient|, at "
            f"equal step and at equal loss, only where both arms are {BELOW_CHANCE}; "
            f"{RATIO_RULE}; "
            "supported if above 1 in both, not supported if below 1 in both, else inconclusive; "
            "inconclusive if an arm is dead or diverged"
        ),
        measured=f"none/batch: {describe(comparisons)}",
        published="histograms without numbers, at the start of training",
        verdict=verdict,
        reason="; ".join(reasons),
    )
