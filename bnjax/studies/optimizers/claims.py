"""What optimisers, initialisers, dropout and augmentation do, with and without BatchNorm.

These are sentences of lectures and textbooks, not of one paper, so there is no published number.
An arm is one normaliser in one setting at one multiple of the optimiser's usual learning rate. It
trains if no seed diverges and each ends below 0.9 of the loss of chance.
"""

import math

import numpy as np

from bnjax.frame.results import Results
from bnjax.frame.variants import Variant
from bnjax.judge.claim import (
    A_FACTOR,
    T_INTERVAL,
    Claim,
    Verdict,
    decide_ratio,
    difference,
    format_interval,
    interval,
)
from bnjax.judge.curves import EQUAL_FIT_POINTS, percent, steps_to_target, test_accuracy
from bnjax.judge.ending import averaging_claims, last_row
from bnjax.judge.pairs import beside_none, why_not_trained
from bnjax.judge.variants import (
    TRAINS,
    arm,
    around,
    base,
    claim,
    decide_points,
    initializers,
    known,
    points,
    points_rule,
    trained_multiples,
    usual,
)
from bnjax.studies.optimizers.symmetry import symmetry_claims


def claims(results: Results) -> list[Claim]:
    """All claims for the normalisers, settings and learning rates that ran."""
    norms = [str(norm) for norm in results.axes["norm"]]
    normalised = beside_none(results)
    decided: list[Claim] = []
    for norm in normalised:
        decided += [
            wider_range(results, norm, variant)
            for variant in around(results, "optimizer")
            if len(results.axes["multiple"]) > 1
        ]
        if len(initializers(results)) > 1:
            decided.append(less_sensitive(results, norm))
    for norm in norms:
        decided += symmetry_claims(results, norm, around(results, "initializer"), usual(results))
        decided += [narrower_gap(results, norm, v) for v in around(results, "dropout")[1:]]
        decided += [narrower_gap(results, norm, v) for v in around(results, "augment")[1:]]
        decided += averaging_claims(results, norm, around(results, "augment"), usual(results))
        if {"sgd", "adam"} <= {v.optimizer for v in around(results, "optimizer")}:
            decided.append(sooner(results, norm))
    return decided


def wider_range(results: Results, norm: str, variant: Variant) -> Claim:
    """Whether `norm` trains over more of the learning rates than `none`."""
    multiples = results.axes["multiple"]
    decades = float(np.mean(np.diff(np.log10(multiples))))
    trained = {name: trained_multiples(results, name, variant) for name in ("none", norm)}
    widths = {name: decades * len(found) for name, found in trained.items()}
    ahead = widths[norm] - widths["none"]
    verdict: Verdict = (
        "supported" if ahead > 0 else "not supported" if ahead < 0 else "inconclusive"
    )
    reason = "" if ahead else "the grid shows no difference: --multiples with more may"
    if not trained["none"] and not trained[norm]:
        reason = "neither trains at any of the learning rates"
    shown = "; ".join(
        f"{name} {widths[name]:.2g} decades (at {' '.join(f'{m:g}' for m in found) or 'none'} "
        "of the usual rate)"
        for name, found in trained.items()
    )
    return claim(
        results,
        f"range-{norm}-{variant.optimizer}",
        f"{norm} widens the range of learning rates at which {variant.optimizer} trains",
        f"{TRAINS}; each learning rate of the grid counts {decades:.2g} decades; supported if "
        f"{norm} has more than none, not supported if fewer, else inconclusive",
        shown,
        verdict,
        reason,
    )


def less_sensitive(results: Results, norm: str) -> Claim:
    """Whether the end depends less on the initialiser with `norm`."""
    found, seeds = initializers(results), results.axes["seed"].tolist()
    multiple = usual(results)
    ends = {
        name: np.array(
            [
                [known(test_accuracy(arm(results, v, multiple), name, s)) for v in found]
                for s in seeds
            ]
        )
        for name in ("none", norm)
    }
    spreads = {name: 100 * np.ptp(values, axis=1) for name, values in ends.items()}
    estimate = difference((spreads["none"] - spreads[norm]).tolist())
    verdict = decide_points(estimate)
    dead = [
        name
        for name in ends
        if all(why_not_trained(arm(results, v, multiple), name) for v in found)
    ]
    reason = f"{' and '.join(dead)} trains from no initialiser" if dead else ""
    shown = "; ".join(
        f"{name} {np.mean(spreads[name]):.1f} points ("
        + ", ".join(
            f"{v.initializer} {percent(x)}" for v, x in zip(found, values.mean(0), strict=True)
        )
        + ")"
        for name, values in ends.items()
    )
    return claim(
        results,
        f"initialiser-{norm}",
        f"{norm} makes the result less sensitive to the initialiser",
        "largest minus smallest final test accuracy over the initialisers that break the symmetry, "
        f"base optimiser at {multiple:g} of its usual learning rate; an arm that does not train "
        "counts with the accuracy it has (0 if it diverged); none − "
        f"{norm}: {points_rule()}; inconclusive if one of the two trains from none of them",
        f"{shown}; difference {points(estimate)}",
        "inconclusive" if dead else verdict,
        reason,
    )


def narrower_gap(results: Results, norm: str, variant: Variant) -> Claim:
    """Whether dropout or augmentation narrows the generalisation gap."""
    multiple, seeds = usual(results), results.axes["seed"].tolist()
    pair = {"base": base(results), "regularised": variant}
    ends = {
        name: [last_row(arm(results, v, multiple), norm, seed) for seed in seeds]
        for name, v in pair.items()
    }
    reasons = [
        f"{name}: {why}"
        for name, v in pair.items()
        if (why := why_not_trained(arm(results, v, multiple), norm))
    ]
    gaps = {
        name: np.array([row.train_accuracy - row.accuracy[0] for row in rows])
        for name, rows in ends.items()
    }
    fits = {name: np.mean([row.train_accuracy for row in rows]) for name, rows in ends.items()}
    if not reasons and fits["base"] - fits["regularised"] > EQUAL_FIT_POINTS:
        reasons.append(
            "it fits the training set less by more than 3 points: who fits less has less to lose"
        )
    estimate = difference((100 * (gaps["base"] - gaps["regularised"])).tolist())
    means = "dropout" if variant.dropout != base(results).dropout else "augmentation"
    return claim(
        results,
        f"gap-{norm}-{means}{variant.dropout if means == 'dropout' else ''}",
        f"{means} narrows the generalisation gap, with norm {norm}",
        "training minus test accuracy at the last probed step, running statistics, no dropout; "
        f"base − {means}, at {multiple:g} of the usual rate: {points_rule()}; inconclusive "
        "if an arm does not train, or if the training accuracy falls by more than 3 points",
        f"{points(estimate)}; "
        + "; ".join(
            f"{name if name == 'base' else means} training {percent(fits[name])}, test "
            f"{percent(np.mean([row.accuracy[0] for row in rows]))}"
            for name, rows in ends.items()
        ),
        "inconclusive" if reasons else decide_points(estimate),
        "; ".join(reasons),
    )


def sooner(results: Results, norm: str) -> Claim:
    """Whether Adam gets to a loss sooner than SGD, each at its best learning rate."""
    seeds = results.axes["seed"].tolist()
    steps: dict[str, list[float]] = {}
    best: dict[str, float] = {}
    for name in ("sgd", "adam"):
        variant = base(results)._replace(optimizer=name)  # type: ignore[arg-type]
        counts = {
            m: [steps_to_target(arm(results, variant, m), norm, seed) for seed in seeds]
            for m in results.axes["multiple"].tolist()
        }
        best[name] = min(counts, key=lambda m: np.mean(counts[m]))
        steps[name] = counts[best[name]]
    never = [name for name, counts in steps.items() if not all(map(math.isfinite, counts))]
    shown = "; ".join(
        f"{name} {' '.join(f'{count:g}' for count in counts)} steps (at {best[name]:g} of its rate)"
        for name, counts in steps.items()
    )
    verdict: Verdict = "inconclusive"
    reason = f"{' and '.join(never)} never got there at any learning rate" if never else ""
    if not never:
        ratio = interval((np.array(steps["sgd"]) / np.array(steps["adam"])).tolist())
        verdict, shown = decide_ratio(ratio), f"{format_interval(ratio)}: {shown}"
        reason = "the interval holds 1" if verdict == "inconclusive" else ""
    config = results.config
    return claim(
        results,
        f"adam-{norm}",
        f"Adam gets to a training loss sooner than SGD, each at its best rate, with norm {norm}",
        f"steps until the running median of {config['window']} minibatch losses is at or below "
        f"{config['target_loss']:g}, each at the learning rate of the grid with the fewest; SGD / "
        f"Adam, {T_INTERVAL} over seeds (one seed: {A_FACTOR}); supported "
        "above 1",
        shown,
        verdict,
        reason,
    )
