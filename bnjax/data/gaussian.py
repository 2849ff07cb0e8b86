"""The data of the deep linear network: Gaussian inputs and their images under one matrix."""

import numpy as np

from bnjax.data.dataset import Dataset, from_arrays


def make_gaussian(
    seed: int, *, positive: bool = False, num_examples: int = 1000, size: int = 10
) -> Dataset:
    """Inputs x and targets A x with Gaussian x, for the deep linear network.

    The paper's text has a Gaussian A. Its curves do not: a loss that starts at 3.5e4 and falls to
    a fifth within 100 steps of the standard network needs a matrix with one singular value far
    above the others. Entries uniform in [0, 1) and a squared error without the factor ½ give the
    published start, fall and course.

    Args:
      seed: of A and of all x.
      positive: entries of A uniform in [0, 1), else standard normal.
      num_examples: training examples; as many more, with the same A, for testing.
      size: of x and of A x.

    Returns:
      A `Dataset` of inputs `[num_examples, 1, 1, size]` and targets `[num_examples, size]`.

    Source: Santurkar et al. 2018, appendix A.1 (1,000 examples, 10×10).

    Example:
      >>> split = make_gaussian(0, num_examples=4, size=2).train
      >>> split.pixels.shape, split.labels.shape
      ((4, 1, 1, 2), (4, 2))
    """
    generator = np.random.default_rng(seed)
    draw = generator.random if positive else generator.standard_normal
    matrix = draw((size, size))
    inputs = generator.standard_normal((2, num_examples, size))
    train, test = (
        (x.reshape(-1, 1, 1, size).astype(np.float32), (x @ matrix.T).astype(np.float32))
        for x in inputs
    )
    entries = "U(0, 1)" if positive else "Gaussian"
    note = f"Gaussian x, A x with {entries} entries, {num_examples:,} examples, seed {seed}"
    name = "gaussian_positive" if positive else "gaussian"
    return from_arrays(name, size, train, test, note)
