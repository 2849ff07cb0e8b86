"""The claims of Li et al. 2018 on the surfaces around trained networks.

Each arm has one trained network, so nothing can be compared at equal loss: the loss at the trained
network is shown beside what was measured.
"""

import itertools

import numpy as np
import xarray

from bnjax.frame.results import Run
from bnjax.judge.compare import DEAD, DIVERGED, why_not_trained
from bnjax.judge.kit import Above, Difference, Level, Quantity, Ratio, single
from bnjax.judge.verdict import RATIO, SHARE, Decision, Verdict, label

NEAR = 0.5  # of a filter's norm: how far around the trained network sharpness is taken
NEGATIVE = 0.1  # of the largest |eigenvalue|: a curvature below minus this is not convex
ONE_SEED_POINTS = 0.05  # how far the share of one seed is trusted
TEST_ERROR_DIFFERENCE = 0.005  # below it two test errors count as equal
PUBLISHED_SHARE = (0.4, 0.9)  # of the variance in two components
# Of a long random walk in many dimensions (Antognini & Sohl-Dickstein 2018).
RANDOM_WALK_SHARE = 6 / np.pi**2 * (1 + 1 / 4)
SHARPNESS = (
    f"the mean rise of the loss within {NEAR} of the filters' norms (median over filter-normalised "
    "random directions)"
)
RISE = (
    "the mean of lines_losses, less that in the middle column, over the columns with "
    f"|lines_columns| above 0 and up to {NEAR}, or the innermost if there is none; an infinite one "
    "is missing"
)
READING = "Not published: a claim of Santurkar et al. 2018, examined by the means of Li et al. 2018"


def at_centre(run: Run, field: str) -> xarray.DataArray:
    """A field of the lines at the trained network, `[norm, seed, line]`."""
    values = run[f"lines_{field}"]
    return values.isel(column=values.sizes["column"] // 2)


def sharpness(run: Run) -> xarray.DataArray:
    """Mean rise of the loss near the trained network, median over lines, `[norm, seed]`."""
    places, rises = abs(run["lines_columns"]), run["lines_losses"] - at_centre(run, "losses")
    # Where the axis is coarse or short, its innermost points at least.
    reach = np.fmax(NEAR, places.where(places != 0).min("column"))
    near = (places != 0) & (places <= reach * (1 + 1e-6))
    count = near.sum("column")
    mean = rises.where(near, 0).sum("column", skipna=False) / count.where(count > 0)
    found = mean.median("line", skipna=False)
    return found.where(np.isfinite(found))


def curvatures(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the discrete Hessian at the inner points of a grid of equal spacing.

    Args:
      losses: `[…, rows, columns]`.

    Returns:
      The lower and the upper one, each `[…, rows − 2, columns − 2]`, in loss over spacing squared.
    """
    centre = losses[..., 1:-1, 1:-1]
    rows = losses[..., 2:, 1:-1] - 2 * centre + losses[..., :-2, 1:-1]
    columns = losses[..., 1:-1, 2:] - 2 * centre + losses[..., 1:-1, :-2]
    first, second = (losses[..., row, :] for row in (slice(2, None), slice(None, -2)))
    mixed = (first[..., 2:] - first[..., :-2] - second[..., 2:] + second[..., :-2]) / 4
    mean, half = (rows + columns) / 2, np.hypot((rows - columns) / 2, mixed)
    return mean - half, mean + half


def nonconvexity(run: Run) -> xarray.DataArray:
    """Share of the plane's inner points at which the surface bends down in some direction."""
    losses = run["plane_losses"].transpose(..., "row", "column")
    with np.errstate(invalid="ignore"):
        lowest, highest = curvatures(losses.values)
    largest = np.maximum(np.abs(lowest), np.abs(highest))
    share = np.mean(lowest < -NEGATIVE * largest, axis=(-2, -1))
    known = np.isfinite(largest).all(axis=(-2, -1))
    return losses[..., 0, 0].copy(data=np.where(known, share, np.nan))


def two_components(run: Run) -> xarray.DataArray:
    """Share of the path's variance in its first two principal components."""
    shares = run["principal_shares"].sel(path="principal")
    return shares.isel(component=slice(2)).sum("component", skipna=False)


def losses_at_centre(run: Run, arms: tuple[str, ...]) -> str:
    """Each arm's loss at the trained network, median over seeds."""
    losses = at_centre(run, "losses").isel(line=0).median("seed", skipna=False)
    each = ", ".join(f"{losses.sel(norm=arm):.3g} {label(arm)}" for arm in arms)
    return f"Loss at the trained network: {each}"


def more_than_published(run: Run, arms: tuple[str, ...]) -> str:
    """That more of the variance lies in two components than in the paper."""
    above = float(two_components(run).mean(skipna=False)) > PUBLISHED_SHARE[1]
    return "More than was published" if above else ""


def order(run: Run) -> Verdict | tuple[()]:
    """Whether the arms stand in the same order by sharpness and by test error."""
    accuracies = run["test_accuracy"]
    if "lines_losses" not in run or len(run.norms) < 2 or accuracies.isnull().all():
        return ()
    seen = sharpness(run), accuracies.isel(test_step=-1), at_centre(run, "accuracies").isel(line=0)
    sharp, tested, fitted = (values.median("seed", skipna=False) for values in seen)
    columns = sharp, 1 - tested, 1 - tested + fitted - 1
    table = {norm: [float(column.sel(norm=norm)) for column in columns] for norm in run.norms}
    fates = {norm: why_not_trained(run, norm) for norm in run.norms}
    reasons, agree = [*filter(None, fates.values())], []
    for left, right in itertools.combinations([norm for norm in fates if not fates[norm]], 2):
        (first, error, _), (second, other, _) = table[left], table[right]
        if first > 0 and second > 0 and abs(error - other) > TEST_ERROR_DIFFERENCE:
            side = RATIO.side(single("", first / second, 1), 1.0)
            agree += [(side == "supported") == (error > other)] if side != "inconclusive" else []
    verdict: Decision = "inconclusive"
    if not agree:
        reasons.append("no two trained networks differ in both")
    elif len({*agree}) == 1:
        verdict = "supported" if agree[0] else "not supported"
    else:
        reasons.append(f"{sum(agree)} of {len(agree)} pairs agree")
    told = (
        f"{label(norm)} {sharp:.3g} / {error:.1%} / {gap:.1%}"
        for norm, (sharp, error, gap) in table.items()
    )
    return Verdict(
        "sharpness-error",
        "Under filter normalisation the sharper network generalises worse",
        "Li et al. 2018, §5",
        f"Sharpness, {SHARPNESS}, measured as {RISE}, and test error, 1 − the last test_accuracy, "
        f"medians over seeds; every pair of networks of positive sharpness that differ by more "
        f"than a factor of {RATIO.minimal:g} in sharpness and {TEST_ERROR_DIFFERENCE:.1%} in test "
        "error; supported if in all pairs the sharper network has the larger error, not supported "
        "if in none, else inconclusive, also where there is no pair; without networks of which "
        f"some seed {DIVERGED} or is {DEAD}",
        f"Sharpness / test error / training minus test accuracy: {', '.join(told)}",
        "CIFAR-10, VGG-9, no decay: batch 128 flatter with test error 7.37 %, batch 8192 sharper "
        "with 11.07 %",
        verdict,
        "; ".join(reasons),
    )


CLAIMS = (
    Ratio(
        identifier="flatter-{norm}",
        says="{norm} ends in a flatter place than no normalisation, under filter normalisation",
        quantity=Quantity(SHARPNESS, sharpness, definition=RISE),
        at=(),
        when=lambda run, norm: "lines_losses" in run,
        source=READING,
        notes=losses_at_centre,
    ),
    Difference(
        identifier="convex-{norm}",
        says="the surface around the network with {norm} is convex at more points than without "
        "normalisation",
        quantity=Quantity(
            "the share of the plane's inner points that are not convex (lower eigenvalue of the "
            f"discrete Hessian below −{NEGATIVE} of the larger |eigenvalue|)",
            nonconvexity,
            show="{:.1%}".format,
            definition="plane_losses, second differences along rows and columns and a quarter of "
            "the mixed one over next neighbours; missing if a loss is not finite",
        ),
        scale=SHARE._replace(minimal=ONE_SEED_POINTS),
        when=lambda run, norm: "plane_losses" in run,
        source=READING,
    ),
    order,
    Level(
        identifier="path-{norm}",
        says="training with {norm} follows a path in few dimensions",
        quantity=Quantity(
            "the share of the snapshots' variance in two principal components",
            two_components,
            definition="the sum of the first two principal_shares of the path principal",
        ),
        rule=Above(PUBLISHED_SHARE[0]),
        scale=RATIO,
        when=lambda run, norm: "principal_shares" in run,
        source="Li et al. 2018, §7.2",
        published="{} to {}; a long random walk in many dimensions has {:.2f} (Antognini & "
        "Sohl-Dickstein 2018)".format(*PUBLISHED_SHARE, RANDOM_WALK_SHARE),
        notes=more_than_published,
    ),
)
