"""The claims of Santurkar et al. 2018, Fig. 4, decided on the arrays of a landscape run.

Each comparison is made at equal step and at equal loss, and a claim that rests on an arm that is
dead or diverged is inconclusive (`claims.pairs`).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bnjax.frame.results import Results, last_rows
from bnjax.judge.claim import RATIO_RULE, Claim, Verdict
from bnjax.judge.learning_rates import at_each_lr
from bnjax.judge.pairs import (
    BELOW_CHANCE,
    agreement,
    beside_none,
    compare_pairs,
    describe,
    reasons_against,
    why_not_trained,
)
from bnjax.studies.landscape.published_landscape import family, summaries

EDGE_TOLERANCE = 0.25  # how near to 2 (edge) or to 1 (saturation) ‖g(lr) − g‖ / ‖g‖ must be

RULE = (
    "median over probed steps of the ratio none/{norm} of {quantity}, at equal step and at equal "
    f"loss, only where both arms are {BELOW_CHANCE}; "
    f"{RATIO_RULE}; supported if above 1 in both comparisons, not "
    "supported if below 1 in both, else inconclusive; inconclusive if an arm is dead or diverged"
)


class Quantity(NamedTuple):
    """Something of one probed step that a claim compares; larger means rougher."""

    identifier: str
    sentence: str
    source: str
    name: str
    values: Callable[[Results, str, int], np.ndarray]  # of norm and seed: [probe_step]


def field(results: Results, name: str, norm: str, seed: int) -> np.ndarray:
    """A field of the line along the gradient, `[probe_step, …]`."""
    return results.select(f"line.{name}", norm=norm, seed=seed, direction="gradient")


def band_width(results: Results, norm: str, seed: int) -> np.ndarray:
    """Largest minus smallest loss over the step sizes."""
    losses = field(results, "losses", norm, seed)
    return losses.max(axis=-1) - losses.min(axis=-1)


def largest_distance(results: Results, norm: str, seed: int) -> np.ndarray:
    """Largest ‖g(η) − g‖ over the step sizes."""
    return field(results, "gradient_distances", norm, seed).max(axis=-1)


def largest_smoothness(results: Results, norm: str, seed: int) -> np.ndarray:
    """Largest β(η) over the step sizes."""
    return field(results, "smoothness", norm, seed).max(axis=-1)


QUANTITIES = (
    Quantity(
        "fig4a",
        "{norm} makes the loss vary less along the gradient",
        "Santurkar et al. 2018, Fig. 4a",
        "the width of the loss band",
        band_width,
    ),
    Quantity(
        "fig4b",
        "{norm} makes the gradient more predictive",
        "Santurkar et al. 2018, Fig. 4b",
        "the upper edge of ‖g(η) − g‖",
        largest_distance,
    ),
    Quantity(
        "fig4c",
        "{norm} makes the loss smoother",
        "Santurkar et al. 2018, Fig. 4c",
        "the largest β(η)",
        largest_smoothness,
    ),
)


def each_rate(results: Results) -> list[tuple[str, Results]]:
    """The results at each learning rate, as those of a run that had only this one.

    Args:
      results: of a run; with several rates its axis `step_size` is in units of the rate.

    Returns:
      What to add to a name, e.g. `lr0.1`, or nothing where there is one rate; and results whose
      axis `step_size` is in parameter units per gradient unit.
    """
    if "lr" not in results.axes:
        return [("", results)]
    relative = results.axes["step_size"]
    return [
        (f"lr{lr:g}", here._replace(axes={**here.axes, "step_size": (lr * relative).astype("f4")}))
        for lr, here in at_each_lr(results)
    ]


def claims(results: Results) -> list[Claim]:
    """All claims of Fig. 4, at each learning rate."""
    found = []
    for rate, here in each_rate(results):
        for claim in claims_at_one_rate(here):
            name = claim.identifier, claim.sentence
            if rate:
                name = f"{claim.identifier}-{rate}", f"{claim.sentence} (lr {rate[2:]})"
            found.append(claim._replace(identifier=name[0], sentence=name[1]))
    return found


def claims_at_one_rate(results: Results) -> list[Claim]:
    """Those of every normaliser that ran beside `none`, and each arm's plateau."""
    norms = [str(norm) for norm in results.axes["norm"]]
    compared = beside_none(results)
    return [
        *(compare(results, quantity, norm) for norm in compared for quantity in QUANTITIES),
        *(plateau(results, norm) for norm in norms),
    ]


def compare(results: Results, quantity: Quantity, norm: str) -> Claim:
    """Decide whether `none` is rougher than `norm` in one quantity."""
    reasons = reasons_against(results, ("none", norm))
    comparisons = compare_pairs(
        results,
        losses=functools.partial(field, results, "loss"),
        values=functools.partial(quantity.values, results),
        above="none",
        below=norm,
    )
    verdict, reasons = agreement(comparisons, reasons)
    measured, published = summaries(results, quantity.identifier, quantity.values, ("none", norm))
    if family(results.config) == "vgg" and quantity.identifier == "fig4b" and norm == "batch":
        published += "; ratio none/batch: median 2.2, 90th percentile 9.8, 1/60 at step 0"
    return Claim(
        identifier=f"{quantity.identifier}-{norm}",
        sentence=quantity.sentence.format(norm=norm),
        source=quantity.source,
        rule=RULE.format(norm=norm, quantity=quantity.name),
        measured="; ".join(filter(None, (describe(comparisons), measured))),
        published=published
        or ("curves without numbers" if family(results.config) in ("vgg", "dln") else ""),
        verdict=verdict,
        reason="; ".join(reasons),
    )


def at_learning_rate(results: Results, norm: str) -> tuple[float, float]:
    """Late medians of ‖g(lr) − g‖ / ‖g‖ and of cos(g(lr), g), over the last quarter of probes."""
    step_sizes = results.axes["step_size"]
    column = int(np.abs(np.log(step_sizes / results.config["lr"])).argmin())
    late = last_rows(len(results.axes["probe_step"]), 4)
    relative, cosines = [], []
    for seed in results.axes["seed"].tolist():
        distances = field(results, "gradient_distances", norm, seed)[late, column]
        relative.append(distances / field(results, "gradient_norm", norm, seed)[late])
        cosines.append(field(results, "cosines", norm, seed)[late, column])
    if not np.isfinite(relative).any():
        return np.nan, np.nan
    return float(np.nanmedian(relative)), float(np.nanmedian(cosines))


def plateau(results: Results, norm: str) -> Claim:
    """Which reference line a late plateau of β is: 2/lr (edge of stability) or 1/η_min."""
    relative, cosine = at_learning_rate(results, norm)
    reason = why_not_trained(results, norm)
    if results.config["optimizer"] != "sgd":
        reason = f"2/lr is the edge of plain SGD, not of {results.config['optimizer']}"
    verdict: Verdict
    if reason:
        verdict = "inconclusive"
    elif abs(relative - 2) < EDGE_TOLERANCE and cosine < -1 + EDGE_TOLERANCE:
        verdict, reason = "supported", "gradient turns round in one step (edge of stability)"
    elif abs(relative - 1) < EDGE_TOLERANCE:
        verdict, reason = "not supported", "gradient vanishes in one step (saturation)"
    else:
        verdict, reason = "inconclusive", "late β is neither edge nor saturation"
    return Claim(
        identifier=f"edge-{norm}",
        sentence=f"the late smoothness of {norm} is that of the edge of stability, 2/lr",
        source="Cohen et al. 2021 (2103.00065); the plateau of Santurkar et al. 2018, Fig. 4c",
        rule=(
            "medians over the last quarter of the probes at η = lr: edge (supported) if "
            f"‖g(η) − g‖/‖g‖ is within {EDGE_TOLERANCE} of 2 and the cosine below "
            f"{-1 + EDGE_TOLERANCE}; saturation (not supported) if it is within "
            f"{EDGE_TOLERANCE} of 1; else inconclusive; inconclusive for a dead arm"
        ),
        measured=f"‖g(lr) − g‖/‖g‖ = {relative:.3g}, cosine {cosine:.3g}",
        published=(
            {
                "dln": "late β 2.2e6 none, 2.02e6 batch; ‖g(lr) − g‖/‖g‖ 1.99 batch: an edge",
                "vgg": "saturation, β = 1/η_min = 19.96 to 19.98 for all five networks",
            }.get(family(results.config), "")
        ),
        verdict=verdict,
        reason=reason,
    )
