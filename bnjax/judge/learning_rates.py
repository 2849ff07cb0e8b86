"""At which learning rates an arm trains at all (Santurkar et al. 2018, §1 and Fig. 1)."""

from collections.abc import Sequence

from bnjax.frame.results import Run as Results
from bnjax.judge.claim import Claim, Verdict
from bnjax.judge.pairs import TRAINED, why_not_trained

PAPER = "Santurkar et al. 2018"


def at_each_lr(results: Results) -> list[tuple[float, Results]]:
    """The results at each learning rate, as those of a run that had only this one."""
    if "lr" not in results.axes:
        return [(float(results.config["lr"]), results)]
    return [(lr, results.at(lr=lr)) for lr in results.axes["lr"].tolist()]


def no_arm_trains(results: Results, norms: Sequence[str], lr: float) -> list[Claim]:
    """A line of its own for a learning rate at which every arm is dead or diverged."""
    reasons = [why_not_trained(results, norm) for norm in norms]
    if not all(reasons):
        return []
    claim = Claim(
        identifier=f"lr{lr:g}",
        sentence=f"at least one network trains at learning rate {lr:g}",
        source="a condition of every comparison at this learning rate",
        rule=f"an arm trains if no seed diverges and each ends below {TRAINED} of chance",
        measured="; ".join(reasons),
        published="",
        verdict="not supported",
        reason="no arm trains: give a smaller --lr, or more --steps; what was measured is kept",
    )
    return [claim]


def learning_rates(results: Results, norm: str) -> Claim:
    """Whether `norm` trains at learning rates at which `none` does not."""
    rates: dict[str, list[float]] = {norm: [], "none": []}
    fates = []
    for lr, at_lr in at_each_lr(results):
        reasons = {arm: why_not_trained(at_lr, arm) for arm in rates}
        for arm, reason in reasons.items():
            rates[arm] += [] if reason else [lr]
        fates.append(f"lr {lr:g}: " + "; ".join(r or f"{arm} trains" for arm, r in reasons.items()))
    ahead, behind = (
        [lr for lr in rates[arm] if lr not in rates[rival]]
        for arm, rival in ((norm, "none"), ("none", norm))
    )
    verdict: Verdict = "inconclusive"
    reason = "both train at the same learning rates: --lrs with larger or smaller ones may tell"
    if ahead and behind:
        reason = "each trains at a learning rate at which the other does not"
    elif ahead:
        verdict, reason = "supported", f"only {norm} trains at {listed(ahead)}"
    elif behind:
        verdict, reason = "not supported", f"only none trains at {listed(behind)}"
    seeds = len(results.axes["seed"])
    return Claim(
        identifier=f"learning-rates-{norm}",
        sentence=f"{norm} trains at learning rates at which none does not",
        source=f"{PAPER}, §1 and Fig. 1; Ioffe & Szegedy 2015",
        rule=(
            f"an arm trains at a learning rate if no seed diverges and each ends below {TRAINED} "
            f"of the loss of chance within the run; supported if {norm} trains at some at which "
            "none does not and never the reverse, not supported if only the reverse, else "
            "inconclusive"
        ),
        measured=f"{'one seed' if seeds == 1 else f'{seeds} seeds'}; " + "; ".join(fates),
        published="",
        verdict=verdict,
        reason=reason,
    )


def listed(rates: Sequence[float]) -> str:
    """Learning rates as a message names them."""
    return "lr " + ", ".join(f"{lr:g}" for lr in rates)
