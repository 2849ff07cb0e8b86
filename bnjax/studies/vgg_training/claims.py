"""The claims on training curves of Santurkar et al. 2018 (Fig. 1a, b and 5).

How well an arm ends, how soon it gets to a target, and at which learning rates it gets anywhere.
A comparison with an arm that diverged or never left chance is inconclusive; that one arm trains
where another does not is a claim of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bnjax.frame.results import Run
from bnjax.judge.compare import DEAD, DIVERGED, why_not_trained
from bnjax.judge.curves import ACCURACY, EQUALLY_FITTED, GAP, LOSS, STEPS
from bnjax.judge.kit import Above, Difference, Ratio, each_rate, whole_run
from bnjax.judge.verdict import Decision, Verdict, label, seeds, sentence

LP_NORMS = ("l1", "l2", "linf")
# What BatchNorm gains over none in the paper: who ends behind it by less does as well.
AS_WELL_POINTS = 0.03
AS_WELL_FACTOR = 1.25
PAPER = "Santurkar et al. 2018"

# By network. Times are those of the first published point at 90 % or below the loss, of points that
# lie 100 steps (VGG) and 50 steps (deep linear) apart.
PUBLISHED_STEPS = {
    "vgg": "minibatch at 90 %, lr 0.1: 4000 without normalisation, 1600 BatchNorm (Fig. 3a); 3300 "
    "without, 1600 BatchNorm, 1600 ℓ₁, 1800 ℓ₂, 1600 ℓ∞ (Fig. 5a)",
    "dln": "loss 5000, lr 1e-6: 750 without normalisation, 150 BatchNorm, 100 ℓ₁, 150 ℓ₂, 500 ℓ∞ "
    "(Fig. 5b)",
}
PUBLISHED_LOSSES = {
    "dln": "last loss, lr 1e-6: 1661 without normalisation, 479 BatchNorm, 97.5 ℓ₁, 482 ℓ₂, 986 ℓ∞ "
    "(Fig. 5b)"
}
PUBLISHED_ACCURACY = {"vgg": "CIFAR-10, test: 83 % BatchNorm, 80 % without (augmented: 92 %, 88 %)"}
PUBLISHED_LP_ACCURACY = {"vgg": "training minibatches only: all arms end at 97 to 100 % (Fig. 5a)"}


def of_network(published: Mapping[str, str]) -> Callable[[Run, str], str]:
    """The published numbers of the run's network."""
    return lambda run, norm: published.get(run.options["model"][:3], "")


def classifies(run: Run, norm: str) -> bool:
    """Whether there is an accuracy."""
    return bool(run.options["model"] != "dln")


@whole_run
def no_arm_trains(run: Run) -> Iterator[Verdict]:
    """A line of its own for a learning rate at which every arm is dead or diverged."""
    for _, here in each_rate(run):
        reasons = [why_not_trained(here, norm) for norm in run.norms]
        if all(reasons):
            lr = here.options["lr"]
            yield Verdict(
                f"lr{lr:g}",
                f"At least one network trains at learning rate {lr:g}",
                "a condition of every comparison at this learning rate",
                f"told only where each network, in some seed, {DIVERGED} or is {DEAD}",
                "; ".join(reasons),
                "",
                "not supported",
                "no arm trains: give a smaller --lr, or more --steps; what was measured is kept",
            )


@whole_run
def learning_rates(run: Run) -> Iterator[Verdict]:
    """Whether a normaliser trains at learning rates at which none does not."""
    for norm in [norm for norm in run.norms if norm != "none"] if "none" in run.norms else []:
        fates, ahead, behind = [], [], []
        for _, here in each_rate(run):
            lr = f"{here.options['lr']:g}"
            own, none = (why_not_trained(here, arm) for arm in (norm, "none"))
            ahead += [lr] if none and not own else []
            behind += [lr] if own and not none else []
            fates.append(
                f"lr {lr}: {own or f'{label(norm)} trains'}; {none or 'no normalisation trains'}"
            )
        verdict: Decision = "inconclusive"
        reason = "both train at the same learning rates: --lr with larger or smaller ones may tell"
        if ahead and behind:
            reason = "each trains at a learning rate at which the other does not"
        elif ahead:
            verdict, reason = "supported", f"only {label(norm)} trains at lr {', '.join(ahead)}"
        elif behind:
            verdict = "not supported"
            reason = f"only no normalisation trains at lr {', '.join(behind)}"
        yield Verdict(
            f"learning-rates-{norm}",
            sentence(f"{label(norm)} trains at learning rates at which no normalisation does not"),
            f"{PAPER}, §1 and Fig. 1; Ioffe & Szegedy 2015",
            f"a network trains at a learning rate unless in some seed it {DIVERGED} or is {DEAD}; "
            "supported if the normalised one trains at some at which the other does not and never "
            "the reverse, not supported if only the reverse, else inconclusive",
            f"{'; '.join(fates)} ({seeds(len(run.seeds))})",
            "",
            verdict,
            reason,
        )


BY_STEPS: dict[str, Any] = {
    "quantity": STEPS, "at": (), "published": of_network(PUBLISHED_STEPS),
}  # fmt: skip
BY_LOSS: dict[str, Any] = {
    "quantity": LOSS, "at": (), "published": of_network(PUBLISHED_LOSSES),
    "when": lambda run, norm: not classifies(run, norm),
}  # fmt: skip
BY_ACCURACY: dict[str, Any] = {"quantity": ACCURACY, "above": "{norm}", "when": classifies}
AS_BATCHNORM: dict[str, Any] = {
    "above": "batch", "only": LP_NORMS, "rule": Above(1 / AS_WELL_FACTOR),
}  # fmt: skip
CLAIMS = (
    Ratio(
        identifier="faster-{norm}-none",
        says="{norm} trains faster than no normalisation",
        source=f"{PAPER}, Fig. 1a, b",
        **BY_STEPS,
    ),
    Ratio(
        identifier="lower-loss-{norm}-none",
        says="{norm} ends at a lower training loss than no normalisation",
        source=f"{PAPER}, Fig. 5b",
        **BY_LOSS,
    ),
    Difference(
        identifier="accuracy-{norm}-none",
        says="{norm} ends at a higher test accuracy than no normalisation",
        below="none",
        source=f"{PAPER}, Fig. 1a, b",
        published=of_network(PUBLISHED_ACCURACY),
        **BY_ACCURACY,
    ),
    Difference(
        identifier="gap-{norm}-none",
        says="{norm} generalises better than no normalisation: training and test accuracy differ "
        "less",
        quantity=GAP,
        when=lambda run, norm: "fit_accuracy" in run,
        conditions=(EQUALLY_FITTED,),
        source=f"{PAPER}, Fig. 1a, b and the conjecture of its conclusions",
        published=of_network(PUBLISHED_ACCURACY),
    ),
    Ratio(
        identifier="as-fast-{norm}-batch",
        says=f"{{norm}} trains as fast as BatchNorm, within a factor of {AS_WELL_FACTOR:g}",
        source=f"{PAPER}, Fig. 5",
        **BY_STEPS,
        **AS_BATCHNORM,
    ),
    Difference(
        identifier="as-accurate-{norm}-batch",
        says="{norm} ends at BatchNorm's test accuracy, or less than "
        f"{100 * AS_WELL_POINTS:g} points below",
        below="batch",
        only=LP_NORMS,
        rule=Above(-AS_WELL_POINTS),
        source=f"{PAPER}, §3.3 and Fig. 5a",
        published=of_network(PUBLISHED_LP_ACCURACY),
        **BY_ACCURACY,
    ),
    Ratio(
        identifier="as-low-{norm}-batch",
        says="{norm} ends at BatchNorm's training loss, or above it by less than a factor of "
        f"{AS_WELL_FACTOR:g}",
        source=f"{PAPER}, §3.3 and Fig. 5b",
        **BY_LOSS,
        **AS_BATCHNORM,
    ),
    Ratio(
        identifier="lower-loss-{norm}-batch",
        says="{norm} ends at a lower training loss than BatchNorm",
        above="batch",
        only=("l1",),
        source=f"{PAPER}, Fig. 5b",
        **BY_LOSS,
    ),
    no_arm_trains,
    learning_rates,
)
