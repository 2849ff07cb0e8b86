"""What the claims on surfaces compare: sharpness of lines, and where a plane is not convex."""

import numpy as np

from bnjax.frame.results import Results

NEAR = 0.5  # of a filter's norm: how far around the trained network sharpness is taken
NEGATIVE = 0.1  # of the largest |eigenvalue|: a curvature below minus this is not convex
SHARPNESS = (
    f"sharpness: mean of L(θ + a d) − L(θ) over |a| ≤ {NEAR} along filter-normalised random "
    "directions, median over directions"
)


def sharpness(results: Results, norm: str, seed: int) -> float:
    """Mean rise of the loss near the trained network, median over lines; see `SHARPNESS`."""
    columns = results.select("lines.columns", norm=norm, seed=seed)
    losses = results.select("lines.losses", norm=norm, seed=seed)
    if np.isnan(losses).all():  # the arm diverged, and nothing was measured
        return np.nan
    rises = losses - losses[:, [losses.shape[1] // 2]]
    # Where the axis is coarse or short, its innermost points at least.
    reach = np.maximum(NEAR, np.abs(columns).min(axis=1, initial=np.inf, where=columns != 0))
    near = (columns != 0) & (np.abs(columns) <= reach[:, None] * (1 + 1e-6))
    return float(np.median(np.mean(rises, axis=1, where=near)))


def nonconvexity(results: Results, norm: str, seed: int) -> float:
    """Share of the plane's inner points at which the surface bends down in some direction."""
    lowest, highest = curvatures(results.select("plane.losses", norm=norm, seed=seed))
    largest = np.maximum(np.abs(lowest), np.abs(highest))
    return float(np.mean(lowest < -NEGATIVE * largest)) if np.isfinite(largest).all() else np.nan


def curvatures(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the discrete Hessian at the inner points of a grid of equal spacing.

    Args:
      losses: `[rows, columns]`.

    Returns:
      The lower and the upper one, each `[rows − 2, columns − 2]`, in loss over spacing squared.
    """
    centre = losses[1:-1, 1:-1]
    rows = losses[2:, 1:-1] - 2 * centre + losses[:-2, 1:-1]
    columns = losses[1:-1, 2:] - 2 * centre + losses[1:-1, :-2]
    mixed = (losses[2:, 2:] - losses[2:, :-2] - losses[:-2, 2:] + losses[:-2, :-2]) / 4
    mean, half = (rows + columns) / 2, np.hypot((rows - columns) / 2, mixed)
    return mean - half, mean + half
