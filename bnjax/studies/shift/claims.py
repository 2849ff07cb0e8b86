"""The claims of Santurkar et al. 2018, §2.2 and Fig. 3, on internal covariate shift."""

import xarray

from bnjax.frame.results import Run, late
from bnjax.judge.kit import NotBelow, Quantity, Ratio
from bnjax.judge.verdict import label

PUBLISHED = {
    "vgg": "late cosines without / with BatchNorm at lr 0.1: layer 5 .47 / .39, layer 10 .06 / .04",
    "dln": "late cosines without / with BatchNorm: layers 9, 17 at lr 1e-7 1.00, 1.00 / .78, .23; "
    "at 1e-6 .92, −.94 / .90, −.90",
}


def shift(run: Run) -> xarray.DataArray:
    """‖G − G'‖ / ‖G‖ of all layers but the first, whose shift is zero."""
    return run["shift_relative_distances"].isel(layer=slice(1, None))


def late_cosines(run: Run, arms: tuple[str, ...]) -> str:
    """Median of cos(G, G') over the last quarter of probes and all seeds, of the chosen layers."""
    cosines = late(run["shift_cosines"], "probe_step").median(["seed", "probe_step"])
    each = [
        f"{layer} "
        + ", ".join(f"{cosines.sel(norm=arm, layer=layer):.2f} {label(arm)}" for arm in arms)
        for layer in run.options["layers"]
    ]
    return f"Late cosine of {'; '.join(each)}" if each else ""


CLAIMS = (
    Ratio(
        identifier="fig3-{norm}",
        says="{norm} does not reduce internal covariate shift",
        quantity=Quantity(
            "the relative shift ‖G − G'‖/‖G‖ of all layers but the first",
            shift,
            definition="shift_relative_distances",
        ),
        above="{norm}",
        below="none",
        rule=NotBelow(),
        source="Santurkar et al. 2018, §2.2 and Fig. 3",
        published=lambda run, norm: PUBLISHED.get(run.options["model"][:3], ""),
        notes=late_cosines,
    ),
)
