"""The claims of Santurkar et al. 2018, §2.2 and Fig. 3, on internal covariate shift."""

import functools

import numpy as np

from bnjax.frame.results import Results, last_rows
from bnjax.judge.claim import ONE_SEED_MARGIN, RATIO_RULE, Claim
from bnjax.judge.pairs import (
    BELOW_CHANCE,
    beside_none,
    compare_pairs,
    describe,
    not_below,
    probed_loss,
    reasons_against,
)
from bnjax.studies.landscape.published_landscape import family

RULE = (
    "median over probed steps and layers but the first of the ratio {norm}/none of ‖G − G'‖/‖G‖, "
    f"at equal step and at equal loss, only where both arms are {BELOW_CHANCE}; "
    f"{RATIO_RULE}; supported if neither reaches below 1/{ONE_SEED_MARGIN:g}, not "
    "supported if both lie below 1, else inconclusive, as where an arm is dead or diverged"
)
PUBLISHED = {
    "vgg": "late cosines none / batch at lr 0.1: layer 5 .47 / .39, layer 10 .06 / .04",
    "dln": "late cosines none / batch: layers 9, 17 at lr 1e-7 1.00, 1.00 / .78, .23; at 1e-6 .92, "
    "−.94 / .90, −.90",
}


def claims(results: Results) -> list[Claim]:
    """One claim for each learning rate and each normaliser that ran beside `none`."""
    compared = beside_none(results)
    return [
        compare(results.at(lr=lr), norm) for lr in results.axes["lr"].tolist() for norm in compared
    ]


def compare(results: Results, norm: str) -> Claim:
    """Decide whether a normaliser leaves internal covariate shift as large as it is without."""
    reasons = reasons_against(results, ("none", norm))
    comparisons = compare_pairs(
        results,
        losses=functools.partial(probed_loss, results),
        values=functools.partial(shift, results),
        above=norm,
        below="none",
    )
    verdict, reasons = not_below(comparisons, reasons)
    lr = results.config["lr"]
    late = "; ".join(
        f"late cosine of {layer} {late_cosine(results, 'none', layer):.2f} none, "
        f"{late_cosine(results, norm, layer):.2f} {norm}"
        for layer in results.config["layers"]
    )
    return Claim(
        identifier=f"fig3-{norm}-lr{lr:g}",
        sentence=f"{norm} does not reduce internal covariate shift (lr {lr:g})",
        source="Santurkar et al. 2018, §2.2 and Fig. 3",
        rule=RULE.format(norm=norm),
        measured=f"{describe(comparisons)}; {late}",
        published=PUBLISHED.get(family(results.config), ""),
        verdict=verdict,
        reason="; ".join(reasons),
    )


def shift(results: Results, norm: str, seed: int) -> np.ndarray:
    """‖G − G'‖ / ‖G‖ of all layers but the first, whose shift is zero: `[probe_step, layer]`."""
    return results.select("shift.relative_distances", norm=norm, seed=seed)[:, 1:]


def late_cosine(results: Results, norm: str, layer: str) -> float:
    """Median of cos(G, G') of a layer over the last quarter of probes and all seeds."""
    cosines = results.select("shift.cosines", norm=norm, layer=layer)
    late = cosines[:, last_rows(cosines.shape[1], 4)]
    return float(np.nanmedian(late)) if np.isfinite(late).any() else float("nan")
