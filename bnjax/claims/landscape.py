"""The claims of Santurkar et al. 2018, Fig. 4, decided on the arrays of a landscape run.

Each comparison is made at equal step and at equal loss, because a network that does not train has
a flat landscape: seen at lr 0.4, the standard VGG sits at ln 10 with a vanishing gradient and
looks smoother than its rival. A claim that rests on an arm that is dead or diverged is
inconclusive.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bnjax.claims.claim import Claim, Comparison, Verdict, decide_ratio, format_interval, interval
from bnjax.runs.results import Results

TRAINED = 0.9  # of the loss of chance: an arm at or above it has not begun to train
EQUAL_LOSS = 1.25  # two losses are called equal if neither exceeds the other by this factor
MINIMUM_PAIRS = 3
EDGE_TOLERANCE = 0.25  # how near to 2 (edge) or to 1 (saturation) ‖g(lr) − g‖ / ‖g‖ must be

RULE = (
    "median over probed steps of the ratio none/{norm} of {quantity}, at equal step and at equal "
    "loss, only where both arms are below 0.9 of the loss of chance; geometric mean over seeds, "
    "95 % t interval (one seed: a factor of 1.1); supported if above 1 in both comparisons, not "
    "supported if below 1 in both, else inconclusive; inconclusive if an arm is dead or diverged"
)


class Quantity(NamedTuple):
    """Something of one probed step that a claim compares; larger means rougher."""

    identifier: str
    sentence: str
    source: str
    name: str
    published: str
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
        "VGG, largest band: 9.67 none, 5.20 batch",
        band_width,
    ),
    Quantity(
        "fig4b",
        "{norm} makes the gradient more predictive",
        "Santurkar et al. 2018, Fig. 4b",
        "the upper edge of ‖g(η) − g‖",
        "VGG, ratio of upper edges none/batch: median 2.2, 90th percentile 9.8; 1/60 at step 0",
        largest_distance,
    ),
    Quantity(
        "fig4c",
        "{norm} makes the loss smoother",
        "Santurkar et al. 2018, Fig. 4c",
        "the largest β(η)",
        "VGG, early median (to step 1500) / maximum: 20.5 / 45.6 none, 17.6 / 25.3 batch",
        largest_smoothness,
    ),
)


def claims(results: Results) -> list[Claim]:
    """All claims of Fig. 4 for every normaliser that ran beside `none`, and each arm's plateau."""
    norms = [str(norm) for norm in results.axes["norm"]]
    compared = [norm for norm in norms if norm != "none"] if "none" in norms else []
    return [
        *(compare(results, quantity, norm) for norm in compared for quantity in QUANTITIES),
        *(plateau(results, norm) for norm in norms),
    ]


def compare(results: Results, quantity: Quantity, norm: str) -> Claim:
    """Decide whether `none` is rougher than `norm` in one quantity."""
    reasons = [reason for arm in ("none", norm) if (reason := why_not_trained(results, arm))]
    comparisons = (
        across_seeds("equal step", results, quantity, norm, at_equal_step),
        across_seeds("equal loss", results, quantity, norm, at_equal_loss),
    )
    verdicts = {decide_ratio(c.ratio) if c.ratio else "inconclusive" for c in comparisons}
    verdict: Verdict = verdicts.pop() if len(verdicts) == 1 else "inconclusive"
    if reasons:
        verdict = "inconclusive"
    else:
        reasons = [comparison.reason for comparison in comparisons if comparison.reason]
        if verdict == "inconclusive" and not reasons:
            reasons = ["the two comparisons do not agree, or an interval holds 1"]
    return Claim(
        identifier=f"{quantity.identifier}-{norm}",
        sentence=quantity.sentence.format(norm=norm),
        source=quantity.source,
        rule=RULE.format(norm=norm, quantity=quantity.name),
        measured="; ".join(
            f"{c.name} {format_interval(c.ratio) if c.ratio else 'not measured'}"
            for c in comparisons
        ),
        published=quantity.published,
        verdict=verdict,
        reason="; ".join(reasons),
    )


def why_not_trained(results: Results, norm: str) -> str:
    """Why no claim can rest on an arm, or nothing."""
    chance = results.facts["chance_loss"]
    for seed in results.axes["seed"].tolist():
        finite = results.select("train.finite", norm=norm, seed=seed)
        if (finite == 0).any():
            return f"{norm} diverged at step {int(np.flatnonzero(finite == 0)[0])}"
        losses = results.select("train.loss", norm=norm, seed=seed)
        final = float(np.median(losses[-max(1, len(losses) // 10) :]))
        if not final < TRAINED * chance:
            return f"{norm} does not train: its loss ends at {final:.3f}, chance is {chance:.3f}"
    return ""


def across_seeds(
    name: str,
    results: Results,
    quantity: Quantity,
    norm: str,
    pairs: Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]],
) -> Comparison:
    """The ratio none/norm of a quantity, median over pairs of steps, over seeds."""
    chance = results.facts["chance_loss"]
    ratios = []
    for seed in results.axes["seed"].tolist():
        left, right = pairs(
            field(results, "loss", "none", seed), field(results, "loss", norm, seed), chance
        )
        ratio = (
            quantity.values(results, "none", seed)[left]
            / quantity.values(results, norm, seed)[right]
        )
        ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
        if len(ratio) < MINIMUM_PAIRS:
            return Comparison(name, None, f"fewer than {MINIMUM_PAIRS} pairs of steps at {name}")
        ratios.append(float(np.median(ratio)))
    return Comparison(name, interval(ratios))


def at_equal_step(
    left: np.ndarray, right: np.ndarray, chance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the probed steps at which both arms are below chance."""
    rows = np.flatnonzero((left < TRAINED * chance) & (right < TRAINED * chance))
    return rows, rows


def at_equal_loss(
    left: np.ndarray, right: np.ndarray, chance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pairs of steps with equal loss: each step of `right` with the nearest of `left`."""
    pairs = []
    usable = np.flatnonzero(left < TRAINED * chance)
    for row in np.flatnonzero(right < TRAINED * chance):
        if len(usable):
            gaps = np.abs(np.log(left[usable]) - np.log(right[row]))
            if gaps.min() <= np.log(EQUAL_LOSS):
                pairs.append((usable[gaps.argmin()], row))
    return tuple(np.array(pairs, dtype=int).reshape(-1, 2).T)  # type: ignore[return-value]


def at_learning_rate(results: Results, norm: str) -> tuple[float, float]:
    """Late medians of ‖g(lr) − g‖ / ‖g‖ and of cos(g(lr), g), over the last quarter of probes."""
    step_sizes = results.axes["step_size"]
    column = int(np.abs(np.log(step_sizes / results.config["lr"])).argmin())
    late = slice(-max(1, len(results.axes["probe_step"]) // 4), None)
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
        published="VGG: saturation, β = 1/η_min = 19.96 to 19.98 for all five networks",
        verdict=verdict,
        reason=reason,
    )
