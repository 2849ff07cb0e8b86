"""The claims of Huang & Yu 2020 on internal covariate shift as an earth mover distance.

Their theory bounds the distance in the units of the activations; a normaliser that makes
activations small makes that distance small too. So each comparison is made in these units and
relative to the layer's own deviation, as two claims.
"""

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge.claim import (
    ONE_SEED_MARGIN,
    RATIO_RULE,
    Claim,
    Verdict,
    decide_difference,
    difference,
    format_interval,
    interval,
    over_seeds,
    ratio_bounds,
)
from bnjax.judge.pairs import (
    BELOW_CHANCE,
    agreement,
    describe,
    not_below,
    reasons_against,
    why_not_trained,
)
from bnjax.studies.earth_mover.earth_mover_terms import (
    MOMENTS,
    QUANTITIES,
    Quantity,
    by_layer,
    compare,
    field,
    layer_ratios,
)

SOURCE = "Huang & Yu 2020 (2001.02814)"
LOOSE, BINDING = 10.0, 2.0  # bound over distance: far from binding above the one, binding below
ONE_SEED_SLOPE = 0.1  # with one seed a slope must leave ±0.1
RULE = (
    "median over probed steps and shown layers of the ratio {above}/{below} of {quantity}, at "
    f"equal step and at equal loss, only where both arms are {BELOW_CHANCE}; "
    f"{RATIO_RULE}; {{verdict}}; "
    "inconclusive otherwise, or if an arm is dead or diverged"
)
NOT_REDUCED = (
    f"supported if neither interval reaches below 1/{ONE_SEED_MARGIN:g}, not supported if both lie "
    "below 1"
)
REDUCED = "supported if above 1 in both comparisons, not supported if below 1 in both"


def claims(results: Results) -> list[Claim]:
    """All claims that the arms of a run allow."""
    norms = [str(norm) for norm in results.axes["norm"]]
    found: list[Claim] = []
    if "none" in norms:
        others = [norm for norm in norms if norm not in ("none", "unitize")]
        found += [not_reduced(results, q, norm) for norm in others for q in QUANTITIES]
    rivals = [norm for norm in ("batch", "none") if norm in norms]
    if "unitize" in norms and rivals:
        found += [reduced(results, quantity, rivals[0]) for quantity in QUANTITIES]
    if {"none", "batch"} <= set(norms):
        found += [not_reduced(results, quantity, "batch") for quantity in MOMENTS]
        found.append(dimension(results))
    return [*found, *([bound(results)] if "batch" in norms else [])]


def not_reduced(results: Results, quantity: Quantity, norm: str) -> Claim:
    """Decide whether a normaliser leaves a shift as large as it is without."""
    comparisons, reasons = compare(results, quantity, norm, "none")
    verdict, reasons = not_below(comparisons, reasons)
    return Claim(
        identifier=f"same-{quantity.identifier}-{norm}",
        sentence=f"{norm} does not reduce {quantity.name}",
        source=f"{SOURCE}: BN bounds the shift and does not reduce it; no higher moment is bounded",
        rule=RULE.format(above=norm, below="none", quantity=quantity.name, verdict=NOT_REDUCED),
        measured=f"{norm}/none: {describe(comparisons)}; {by_layer(results, quantity, norm)}",
        published="a theorem, no number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def reduced(results: Results, quantity: Quantity, rival: str) -> Claim:
    """Decide whether unitization has less shift than BatchNorm, or than no normalisation."""
    comparisons, reasons = compare(results, quantity, rival, "unitize")
    verdict, reasons = agreement(comparisons, reasons)
    name = quantity.name
    return Claim(
        identifier=f"less-{quantity.identifier}-unitize",
        sentence=f"unitize reduces {name}, against {rival}",
        source=f"{SOURCE}: unitization bounds the shift further",
        rule=RULE.format(above=rival, below="unitize", quantity=name, verdict=REDUCED),
        measured=f"{rival}/unitize: {describe(comparisons)}; "
        f"{by_layer(results, quantity, rival, 'unitize')}",
        published="a theorem, no number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def dimension(results: Results) -> Claim:
    """Decide whether BatchNorm reduces the shift the less, the larger a layer's dimension."""
    quantity = QUANTITIES[0]
    reasons = reasons_against(results, ("batch", "none"))
    seeds = results.axes["seed"].tolist()
    dims = field(results, "dimension", "batch", seeds[0])[0]
    verdict: Verdict = "inconclusive"
    measured = "not measured"
    if len(np.unique(dims)) < 2:
        reasons.append(f"all shown layers have the dimension {dims[0]:g}")
    if not reasons:
        found = [layer_ratios(results, quantity, "batch", "none", seed) for seed in seeds]
        logs = [np.polyfit(np.log(dims), np.log(ratios), 1)[0] for ratios in found]
        slope = difference([float(each) for each in logs])
        verdict = decide_difference(slope, ONE_SEED_SLOPE)
        reasons = ["the slope's interval holds 0"] if verdict == "inconclusive" else []
        measured = f"slope {format_interval(slope)}; {by_layer(results, quantity, 'batch')}"
    return Claim(
        identifier="dimension-batch",
        sentence="batch controls the shift the less, the more dimensions a layer has",
        source=f"{SOURCE}: its bound grows with the square root of the dimension D",
        rule=(
            "slope over shown layers of the logarithm of the ratio batch/none of "
            f"{quantity.name}, median over probed steps at equal step, against log D; "
            f"{over_seeds('mean', f'±{ONE_SEED_SLOPE}')}; supported if above 0, not "
            "supported if below; in a network whose D falls with depth, depth may be the cause"
        ),
        measured=measured,
        published="a theorem, no number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def bound(results: Results) -> Claim:
    """Decide whether the bound that BatchNorm's γ and β set is far from what is measured."""
    ratios = np.array(
        [
            field(results, "norm_bound", "batch", seed) / field(results, "exact", "batch", seed)
            for seed in results.axes["seed"].tolist()
        ]
    )
    reason = why_not_trained(results, "batch")
    verdict: Verdict = "inconclusive"
    measured = "not measured"
    if not np.isfinite(ratios[:, :, 0]).all() and not reason:
        reason = "no distance in all dimensions was measured: --exact measures it"
    elif not reason:
        intervals = {
            str(layer): interval(np.median(own, axis=1).tolist())
            for layer, own in zip(
                results.axes["shown_layer"], np.moveaxis(ratios, 2, 0), strict=True
            )
        }
        ends = [ratio_bounds(each) for each in intervals.values()]
        measured = ", ".join(f"{name} {format_interval(own)}" for name, own in intervals.items())
        if all(low > LOOSE for low, _ in ends):
            verdict = "supported"
        elif any(high < BINDING for _, high in ends):
            verdict, reason = "not supported", f"within a factor of {BINDING:g} in some layer"
        else:
            reason = f"between {BINDING:g} and {LOOSE:g}, or layers differ"
    return Claim(
        identifier="bound-batch",
        sentence="the bound that batch sets by γ and β does not control the shift: it is far above",
        source=f"{SOURCE}: the control is effective for few dimensions only",
        rule=(
            "median over probed steps of (√(2D)·max|γ| + ‖β − β'‖ in a dense layer, 2√D·max|γ| + "
            "√S·‖β − β'‖ with S pixels) over the earth mover distance in all dimensions; "
            f"{RATIO_RULE}; supported if above "
            f"{LOOSE:g} in all shown layers, not supported if below {BINDING:g} in any; else "
            "inconclusive, as for a dead arm"
        ),
        measured=measured,
        published="a theorem, no number",
        verdict=verdict,
        reason=reason,
    )
