"""How far each candidate is from the published numbers, and whether the nearest has them."""

from collections.abc import Iterator, Mapping

import numpy as np
import xarray

from bnjax.frame.results import Run
from bnjax.judge.kit import RATIO
from bnjax.judge.verdict import Decision, Verdict, label, seeds
from bnjax.studies.forensics.published import NUMBERS
from bnjax.studies.forensics.readings import NUMBER_NAMES

NEAR = 1.25  # the typical factor up to which a candidate has the published numbers
SHOWN = 3  # candidates in a sentence
SOURCE = "Santurkar et al. 2018, Fig. 4 and 12, first points"


def numbers_of(run: Run) -> xarray.DataArray:
    """The six numbers before the first step, `[candidate, norm, seed, number]`."""
    first = run.data.isel(probe_step=0).sel(direction="gradient")
    loss, distance = first["line_losses"], first["line_gradient_distances"]
    low, high = (end("step_size", skipna=False) for end in (loss.min, loss.max))
    found = [
        low,
        high,
        high - low,
        distance.min("step_size", skipna=False),
        distance.max("step_size", skipna=False),
        first["line_smoothness"].max("step_size", skipna=False),
    ]
    stacked = xarray.concat(found, "number", coords="minimal", compat="override")
    stacked = stacked.assign_coords(number=list(NUMBER_NAMES))
    return stacked.transpose("candidate", "norm", "seed", "number")


def distances(
    run: Run, known: Mapping[str, tuple[float, ...]] = NUMBERS
) -> tuple[xarray.DataArray, xarray.DataArray]:
    r"""How far each candidate is from the published numbers, by a typical factor.

    $\exp\sqrt{\mathrm{mean}\,(\ln m_i/p_i)^2}$ over the numbers i of one normaliser, or of all that
    were published; ∞ where a number is 0 or not finite.

    Returns:
      `[candidate, norm, seed]`, of the normalisers with published numbers, and `[candidate, seed]`.
    """
    norms = [norm for norm in run.norms if norm in known]
    measured = numbers_of(run).sel(norm=norms)
    reference = xarray.DataArray([known[norm] for norm in norms], dims=("norm", "number"))
    legal = np.isfinite(measured) & (measured > 0)
    logarithms = xarray.ufuncs.log(measured.where(legal) / reference)
    squares = (logarithms**2).fillna(np.inf).transpose(*measured.dims)
    return tuple(  # type: ignore[return-value]
        np.exp(np.sqrt(squares.mean(over))) for over in (["number"], ["norm", "number"])
    )


def ranked(factors: xarray.DataArray) -> list[tuple[str, list[float]]]:
    """Candidates from the nearest to the farthest, each with its factor for every seed."""
    own = {
        str(name): factors.sel(candidate=name).values.tolist() for name in factors.candidate.values
    }
    return sorted(own.items(), key=lambda item: float(np.mean(np.log(item[1]))))


def nearest(run: Run) -> Iterator[Verdict]:
    """Whether the nearest candidate has the numbers: of each normaliser, and of all at once."""
    norms = [norm for norm in run.norms if norm in NUMBERS]
    if not norms:
        return
    by_norm, over_all = distances(run)
    for norm in norms:
        yield judge(run, norm, label(norm), by_norm.sel(norm=norm), [norm])
    if len(norms) > 1:
        yield judge(run, "all", "all normalisers at once", over_all, norms)


def judge(
    run: Run, name: str, subject: str, factors: xarray.DataArray, norms: list[str]
) -> Verdict:
    order = ranked(factors)
    usable = [RATIO.average(name, own, NEAR) for name, own in order if np.isfinite(own).all()]
    decision: Decision = "inconclusive"
    reason = "no candidate has finite numbers"
    if usable:
        side = RATIO.side(usable[0], NEAR)
        decision = {"supported": "not supported", "not supported": "supported"}.get(side, side)  # type: ignore[assignment]
        near = f"the typical factor of {usable[0].name} is too near to {NEAR:g} to decide"
        reason = near if decision == "inconclusive" else ""
    told = ", ".join(
        f"{one.name} {one.estimate:.3g}"
        + (f" [{one.low:.3g}, {one.high:.3g}]" if one.n > 1 else "")
        for one in usable[:SHOWN]
    )
    return Verdict(
        f"nearest-{name}",
        f"A candidate has the published numbers of {subject} before the first step",
        SOURCE,
        f"Typical factor between measured and published numbers, exp of the root mean square of ln "
        f"(measured/published) over {len(norms) * len(NUMBER_NAMES)} numbers (over η, along the "
        f"gradient, before the first step: {'; '.join(NUMBER_NAMES)}), infinite where one is not "
        f"positive or not finite; of the candidate with the least geometric mean over seeds, among "
        f"those that are finite in every seed: supported if it is below {NEAR:g}, not supported if "
        f"above, else inconclusive; {RATIO.rule()}",
        f"Typical factors of the nearest {min(SHOWN, len(usable))} of {len(order)} candidates, "
        f"{seeds(len(run.seeds))}: {told}"
        if usable
        else "No finite number",
        "; ".join(
            f"{label(norm)} {' / '.join(f'{x:.4g}' for x in NUMBERS[norm])}" for norm in norms
        ),
        decision,
        reason,
        tuple(usable[:SHOWN]),
    )


CLAIMS = (nearest,)
