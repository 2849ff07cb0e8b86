"""Why an initialisation must differ from unit to unit."""

from collections.abc import Sequence

import numpy as np

from bnjax.frame.results import Results
from bnjax.frame.variants import Variant
from bnjax.judge.claim import Claim, Verdict
from bnjax.judge.curves import percent, test_accuracy
from bnjax.judge.pairs import why_not_trained
from bnjax.judge.variants import SYMMETRIC

ALIKE = 1e-3  # of the largest weight: what rounding may add up to; a draw differs by about 1
FAILS = 0.05  # of accuracy below the base


def relative_differences(results: Results, norm: str) -> np.ndarray:
    """Largest difference between two units over largest weight, `[seed, probe_step, kernel]`.

    Hidden layers only: the units of the last one have labels of their own. A kernel of zeros
    counts as 0.
    """
    hidden = hidden_kernels(results)
    differences = results.select("symmetry.differences", norm=norm)[..., hidden]
    sizes = results.select("symmetry.sizes", norm=norm)[..., hidden]
    return np.where(differences == 0, 0.0, differences / np.where(sizes == 0, 1.0, sizes))


def hidden_kernels(results: Results) -> list[int]:
    """The columns of all kernels but the classifier's."""
    names = results.axes["kernel"].tolist()
    return [row for row, name in enumerate(names) if not name.startswith("output")]


def symmetry_claims(
    results: Results, norm: str, variants: Sequence[Variant], multiple: float
) -> list[Claim]:
    """A claim for each symmetric initialiser that ran beside the base."""
    base, *others = variants
    if base.initializer in SYMMETRIC:
        return []
    return [
        symmetry_claim(results, norm, base, variant, multiple)
        for variant in others
        if variant.initializer in SYMMETRIC
    ]


def symmetry_claim(
    results: Results, norm: str, base: Variant, variant: Variant, multiple: float
) -> Claim:
    """Whether a symmetric initialiser fails because units stay alike."""
    arms = {v.initializer: results.at(variant=v.name, multiple=multiple) for v in (base, variant)}
    seeds = results.axes["seed"].tolist()
    reference, own = (
        np.nan_to_num([test_accuracy(at, norm, seed) for seed in seeds]) for at in arms.values()
    )
    symmetric = arms[variant.initializer]
    spread = relative_differences(symmetric, norm)
    stays = float(np.nanmax(spread))
    why = why_not_trained(arms[base.initializer], norm)
    verdict: Verdict = "supported"
    reason = explain(symmetric, norm, stays)
    if why:
        verdict, reason = "inconclusive", f"{base.initializer}: {why}"
    elif not (reference - own > FAILS).all():
        verdict, reason = "not supported", f"it ends within {100 * FAILS:g} points; {reason}"
    elif stays > ALIKE:
        verdict, reason = (
            "inconclusive",
            f"it ends lower, but its units do not stay alike; {reason}",
        )
    reached = "; ".join(f"at {m:g} {percent(x)}" for m, x in at_multiples(results, norm, variant))
    return Claim(
        identifier=f"symmetry-{norm}-{variant.initializer}",
        sentence=f"from the initialiser {variant.initializer} the network with norm {norm} fails, "
        "because the units of each hidden layer stay alike",
        source="a textbook sentence (Goodfellow et al. 2016, §8.4); no published number",
        rule=f"supported if each seed ends more than {100 * FAILS:g} points of test accuracy below "
        f"the same from {base.initializer}, and the units of no hidden layer ever differ by more "
        f"than {ALIKE:g} of its largest weight; not supported if it does not end so far below; "
        f"else inconclusive; at {multiple:g} of the usual learning rate",
        measured=f"{'one seed; ' if len(seeds) == 1 else ''}largest relative difference "
        f"{stays:.2g}; test accuracy {percent(own.mean())}, from {base.initializer} "
        f"{percent(reference.mean())}; by learning rate: {reached}",
        published="",
        verdict=verdict,
        reason=reason,
    )


def at_multiples(results: Results, norm: str, variant: Variant) -> list[tuple[float, float]]:
    """The final test accuracy at each learning rate, mean over seeds."""
    seeds = results.axes["seed"].tolist()
    found = []
    for multiple in results.axes["multiple"].tolist():
        at = results.at(variant=variant.name, multiple=multiple)
        found.append((multiple, float(np.mean([test_accuracy(at, norm, s) for s in seeds]))))
    return found


def explain(results: Results, norm: str, stays: float) -> str:
    """The numbers behind it: gradients, variances."""
    hidden = hidden_kernels(results)
    gradients = results.select("symmetry.gradient_norms", norm=norm)[..., hidden]
    variances = results.select("symmetry.variances", norm=norm)[..., hidden]
    parts = [f"largest gradient norm of a hidden kernel {np.nanmax(gradients):.3g}"]
    if stays == 0:
        parts.append("units of a layer are equal bit for bit")
    if np.isfinite(variances).any():
        smallest = float(np.nanmin(variances))
        parts.append(
            f"smallest of the layers' largest variances that the norm divides by {smallest:.3g}"
        )
    return "; ".join(parts)
