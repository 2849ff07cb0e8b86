"""The claims on training curves of Santurkar et al. 2018 (Fig. 1a, b and 5).

How well an arm ends, how soon it gets to a target, and at which learning rates it gets anywhere.
A comparison with an arm that diverged or never left chance is inconclusive; that one arm trains
where another does not is a claim of its own.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge.claim import (
    A_FACTOR,
    ONE_SEED_POINTS,
    SOME_POINTS,
    Claim,
    Verdict,
    difference,
    difference_bounds,
    format_interval,
    format_points,
    interval,
    over_seeds,
    ratio_bounds,
)
from bnjax.judge.curves import ACCURACY, GAP, LOSS, STEPS, Quantity, why_not_equally_fitted
from bnjax.judge.learning_rates import PAPER, at_each_lr, learning_rates, no_arm_trains
from bnjax.judge.pairs import beside_none, reasons_against

LP_NORMS = ("l1", "l2", "linf")
# What BatchNorm gains over none in the paper: who ends behind it by less does as well.
AS_WELL_POINTS = 0.03
AS_WELL_FACTOR = 1.25

RULE = (
    f"{{quantity}}: {{comparison}}, {over_seeds('mean', '{one_seed}')}; supported "
    "if it lies above {limit:g}, not supported if below, else inconclusive; inconclusive if an arm "
    "is dead or diverged"
)


class Question(NamedTuple):
    """A claim on two arms: is `norm` ahead of `other` by more than `limit`?"""

    identifier: str
    sentence: str
    source: str
    quantity: Quantity
    limit: float  # 1 or a ratio around it, 0 or a difference of shares
    published: Mapping[str, str]  # by network, vgg or dln


# By network. Times are those of the first published point at 90 % or below the loss, of points that
# lie 100 steps (VGG) and 50 steps (deep linear) apart.
PUBLISHED_STEPS = {
    "vgg": (
        "minibatch at 90 %, lr 0.1: 4000 none, 1600 batch (Fig. 3a); 3300 none, 1600 batch, 1600 "
        "l1, 1800 l2, 1600 linf (Fig. 5a)"
    ),
    "dln": "loss 5000, lr 1e-6: 750 none, 150 batch, 100 l1, 150 l2, 500 linf (Fig. 5b)",
}
PUBLISHED_LOSSES = {
    "dln": "last loss, lr 1e-6: 1661 none, 479 batch, 97.5 l1, 482 l2, 986 linf (Fig. 5b)"
}
PUBLISHED_ACCURACY = {"vgg": "CIFAR-10, test: 83 % batch, 80 % none (augmented: 92 %, 88 %)"}
PUBLISHED_LP_ACCURACY = {"vgg": "training minibatches only: all arms end at 97 to 100 % (Fig. 5a)"}

FASTER = Question(
    "faster", "{norm} trains faster than {other}", "Fig. 1a, b", STEPS, 1.0, PUBLISHED_STEPS
)
LOWER = Question(
    "lower-loss",
    "{norm} ends at a lower training loss than {other}",
    "Fig. 5b",
    LOSS,
    1.0,
    PUBLISHED_LOSSES,
)
BETTER = Question(
    "accuracy",
    "{norm} ends at a higher test accuracy than {other}",
    "Fig. 1a, b",
    ACCURACY,
    0.0,
    PUBLISHED_ACCURACY,
)
NARROWER = Question(
    "gap",
    "{norm} generalises better than {other}: training and test accuracy differ less",
    "Fig. 1a, b and the conjecture of its conclusions",
    GAP,
    0.0,
    PUBLISHED_ACCURACY,
)
AS_FAST = Question(
    "as-fast",
    f"{{norm}} trains as fast as {{other}}, within a factor of {AS_WELL_FACTOR:g}",
    "Fig. 5",
    STEPS,
    1 / AS_WELL_FACTOR,
    PUBLISHED_STEPS,
)
AS_ACCURATE = Question(
    "as-accurate",
    f"{{norm}} ends at {{other}}'s test accuracy, or less than {100 * AS_WELL_POINTS:g} points "
    "below",
    "§3.3 and Fig. 5a",
    ACCURACY,
    -AS_WELL_POINTS,
    PUBLISHED_LP_ACCURACY,
)
AS_LOW = Question(
    "as-low",
    f"{{norm}} ends at {{other}}'s training loss, or above it by less than a factor of "
    f"{AS_WELL_FACTOR:g}",
    "§3.3 and Fig. 5b",
    LOSS,
    1 / AS_WELL_FACTOR,
    PUBLISHED_LOSSES,
)


def claims(results: Results) -> list[Claim]:
    """All claims for the normalisers that ran, at each learning rate and across them."""
    norms = [str(norm) for norm in results.axes["norm"]]
    normalised = beside_none(results)
    lp_norms = [norm for norm in norms if norm in LP_NORMS] if "batch" in norms else []
    classes = has_classes(results)
    against_none = [FASTER, BETTER] if classes else [FASTER, LOWER]
    against_batch = [AS_FAST, AS_ACCURATE if classes else AS_LOW]
    if "fit.accuracy" in results.arrays:
        against_none = [*against_none, NARROWER]
    decided: list[Claim] = []
    for lr, at_lr in at_each_lr(results):
        suffix = f"-lr{lr:g}" if "lr" in results.axes else ""
        decided += [
            ask(at_lr, q, norm, "none", suffix) for norm in normalised for q in against_none
        ]
        decided += [
            ask(at_lr, q, norm, "batch", suffix) for norm in lp_norms for q in against_batch
        ]
        if not classes and "l1" in lp_norms:
            decided.append(ask(at_lr, LOWER, "l1", "batch", suffix))
        decided += no_arm_trains(at_lr, norms, lr)
    if "lr" in results.axes:
        decided += [learning_rates(results, norm) for norm in normalised]
    return decided


def has_classes(results: Results) -> bool:
    """Whether there is an accuracy."""
    return bool(results.config["model"] != "dln")


def ask(results: Results, question: Question, norm: str, other: str, suffix: str) -> Claim:
    """Decide a question on two arms at one learning rate."""
    quantity = question.quantity
    seeds = results.axes["seed"].tolist()
    arms = {arm: [quantity.value(results, arm, seed) for seed in seeds] for arm in (other, norm)}
    reasons = reasons_against(results, arms)
    if quantity is GAP and not reasons and (unequal := why_not_equally_fitted(results, [*arms])):
        reasons = [unequal]
    shown = ", ".join(
        f"{arm} {' '.join(quantity.show(value) for value in values)}"
        for arm, values in arms.items()
    )
    verdict: Verdict = "inconclusive"
    if not reasons:
        verdict, advantage, reason = decide(
            quantity, arms[norm], arms[other], len(results.axes["step"]), question.limit
        )
        reasons = [reason] if reason else []
        shown = f"{advantage}: {shown}"
    first, second = (norm, other) if quantity.larger_is_better else (other, norm)
    return Claim(
        identifier=f"{question.identifier}-{norm}-{other}{suffix}",
        sentence=question.sentence.format(norm=norm, other=other),
        source=f"{PAPER}, {question.source}",
        rule=RULE.format(
            quantity=quantity.name(results),
            comparison=f"{first} / {second}" if quantity.is_ratio else f"{first} − {second}",
            one_seed=A_FACTOR if quantity.is_ratio else SOME_POINTS,
            limit=question.limit,
        ),
        measured=shown,
        published=question.published.get(results.config["model"][:3], ""),
        verdict=verdict,
        reason="; ".join(reasons),
    )


def decide(
    quantity: Quantity,
    own: Sequence[float],
    others: Sequence[float],
    steps: int,
    limit: float,
) -> tuple[Verdict, str, str]:
    """Verdict, the advantage with its interval, and why there is no verdict.

    An arm that never got to the target counts with the length of the run: that bounds the ratio
    from one side, and a bound decides only on that side.
    """
    first, second = (own, others) if quantity.larger_is_better else (others, own)
    left, right = np.array(first), np.array(second)
    at_least, at_most = bool(np.isinf(left).any()), bool(np.isinf(right).any())
    left, right = (np.where(np.isinf(side), steps, side) for side in (left, right))
    if quantity.is_ratio:
        estimate = interval((left / right).tolist())
        low, high = ratio_bounds(estimate)
        shown = format_interval(estimate)
    else:
        estimate = difference((left - right).tolist())
        low, high = difference_bounds(estimate, ONE_SEED_POINTS)
        shown = format_points(estimate)
    if at_least or at_most:
        shown = f"{'at least' if at_least else 'at most'} {shown}"
    if at_least and at_most:
        return "inconclusive", "no ratio", "both arms have a seed that never got to the target"
    if low > limit and not at_most:
        return "supported", shown, ""
    if high < limit and not at_least:
        return "not supported", shown, ""
    return "inconclusive", shown, f"the interval holds {limit:g}, or a bound does not decide"
