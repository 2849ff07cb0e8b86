"""A landscape run of made-up lines."""

import numpy as np
import xarray

from bnjax.frame.results import Run

SIZES = np.array([0.05, 0.1, 0.2, 0.4], "f4")
AXES = {"norm": 0, "seed": 2, "probe_step": 4, "direction": 1, "step_size": 4}


def made_run(norms=("none", "batch"), steps=40, **options):
    """Made-up lines of two seeds along the gradient."""
    random = np.random.default_rng(1)
    sizes = {**AXES, "norm": len(norms), "step": steps, "test_step": 2}
    lead, probe = ("norm", "seed"), ("norm", "seed", "probe_step", "direction")
    dims = {f"train_{name}": (*lead, "step") for name in ("loss", "accuracy", "finite")}
    dims |= {f"test_{name}": (*lead, "test_step") for name in ("loss", "accuracy")}
    along = ("losses", "gradient_distances", "gradient_norms", "smoothness", "cosines")
    dims |= {f"line_{name}": (*probe, "step_size") for name in along}
    point = ("loss", "gradient_norm", "direction_norm", "smoothness_limit")
    dims |= {f"line_{name}": probe for name in point}
    data = {
        name: (own, random.uniform(0.1, 2.0, [sizes[axis] for axis in own]).astype("f4"))
        for name, own in dims.items()
    }
    data["train_finite"][1][:] = 1
    data["line_rounding_noise"] = (probe, np.full([sizes[axis] for axis in probe], np.nan, "f4"))
    data["line_step_sizes"] = (
        data["line_losses"][0],
        np.zeros((len(norms), 2, 4, 1, 4), "f4") + SIZES,
    )
    coords = {"norm": list(norms), "seed": [0, 1], "step": range(steps), "test_step": [0, steps]}
    coords |= {"probe_step": np.arange(4) * (steps // 4), "direction": ["gradient"]}
    given = {"model": "vgg11", "depth": None, "width": 0.25, "dropout": 0.0, "steps": steps}
    given |= {"objective": "cross_entropy", "optimizer": "sgd", "lr": 0.1, "batch_size": 32}
    given |= {"kernel_penalty": 0.0, "pixel_scale": "standardised"}
    given |= {"statistics": "batch", "parameters": "all", "difference_steps": [], **options}
    facts = {"chance_loss": 2.3, "dataset": "made up"}
    return Run(xarray.Dataset(data, {**coords, "step_size": SIZES}), given, facts)
