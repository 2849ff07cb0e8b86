"""What the claims on the Hessian's spectrum compare: quantities of a probed step."""

from collections.abc import Callable

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge.pairs import TRAINED

Measure = Callable[[Results, str, int, str], np.ndarray]  # of norm, seed and statistics


def loss(results: Results, norm: str, seed: int, statistics: str) -> np.ndarray:
    """The loss on the probed part of the training set, `[probe_step]`."""
    return results.select("spectrum.loss", norm=norm, seed=seed, statistics=statistics)


def isolation(results: Results, norm: str, seed: int, statistics: str) -> np.ndarray:
    """λ₁/λ_K, the largest eigenvalue over the last of the top K, `[probe_step]`."""
    largest = results.select("spectrum.largest", norm=norm, seed=seed, statistics=statistics)
    return largest[:, 0] / largest[:, -1]


def concentration(results: Results, norm: str, seed: int, statistics: str) -> np.ndarray:
    """The share of the squared gradient in the space of the top K, `[probe_step]`."""
    fraction = results.select(
        "spectrum.gradient_fraction", norm=norm, seed=seed, statistics=statistics
    )
    return fraction[:, -1]


def trained(results: Results, norm: str, seed: int, statistics: str) -> float:
    """The median share of the gradient over probed steps below chance; NaN where there are none."""
    below = loss(results, norm, seed, statistics) < TRAINED * results.facts["chance_loss"]
    shares = concentration(results, norm, seed, statistics)[below]
    return float(np.median(shares)) if len(shares) else np.nan


def sharpness(results: Results, norm: str, seed: int, statistics: str) -> np.ndarray:
    """λ₁, `[probe_step]`."""
    return results.select("spectrum.largest", norm=norm, seed=seed, statistics=statistics)[:, 0]


def spread(results: Results, norm: str, seed: int, statistics: str) -> np.ndarray:
    """λ₁ in standard deviations of the spectral density, `[probe_step]`."""
    where = {"norm": norm, "seed": seed, "statistics": statistics}
    nodes, weights = (results.select(f"spectrum.{name}", **where) for name in ("nodes", "weights"))
    nodes = np.nan_to_num(nodes)
    mean = (weights * nodes).sum(axis=-1, keepdims=True)
    variance = (weights * (nodes - mean) ** 2).sum(axis=-1).mean(axis=-1)
    return sharpness(results, norm, seed, statistics) / np.sqrt(variance)
