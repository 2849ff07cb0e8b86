"""Convolution by Winograd's minimal filtering: fewer products, each a matrix product.

Two outputs of a 3-tap filter need 4 products instead of 6, on both axes 16 instead of 36
(Winograd 1980; Lavin & Gray 2016, 1509.09308). On an axis of two pixels 3 products do, so a 3×3
convolution of a 2×2 image takes 9 (Karatsuba's trick on a 2×2 Toeplitz matrix). Only these smallest
algorithms are used: their coefficients are 0, ±1 and ±1/2, exact in floating point, and those of
larger tiles lose digits.

Root mean square error in float32 against float64, over that of XLA's own convolution (two cores of
an EPYC, batch 4, normal numbers; at 256 channels images are cut off at 0):

| channels, pixels | value | input gradient | kernel gradient |
|---|---|---|---|
| 64, 8×8 | 0.76 | 0.74 | 1.02 |
| 256, 8×8 | 1.66 | 1.37 | 1.24 |
| 512, 4×4 | 1.50 | 2.10 | 1.32 |
| 512, 2×2 | 0.73 | 0.99 | 2.05 |

These errors are 1e-7 to 8e-7 of the result. `convolution.without_winograd` sums directly.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from bnjax.convolution.chunks import in_chunks
from bnjax.convolution.geometry import Axis, Geometry, Images, Output, tap_matrices

Matrix: TypeAlias = tuple[tuple[float, ...], ...]
Grid: TypeAlias = list[list[Array]]

# Larger chunks of a batch leave the cache between the transform and the product that reads it.
CACHED_BYTES = 8 * 2**20


class Algorithm(NamedTuple):
    r"""One axis: $y = O\,[(K k) \odot (I x)]$ for two outputs, from 4 or 2 pixels and 3 taps."""

    inputs: Matrix
    kernel: Matrix
    outputs: Matrix


TILES = Algorithm(
    inputs=(
        (1.0, 0.0, -1.0, 0.0),
        (0.0, 1.0, 1.0, 0.0),
        (0.0, -1.0, 1.0, 0.0),
        (0.0, 1.0, 0.0, -1.0),
    ),
    kernel=((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0)),
    outputs=((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, -1.0)),
)
TWO_PIXELS = Algorithm(
    inputs=((1.0, 1.0), (0.0, 1.0), (1.0, 0.0)),
    kernel=((0.0, 1.0, 0.0), (0.0, -1.0, 1.0), (1.0, -1.0, 0.0)),
    outputs=((1.0, 1.0, 0.0), (1.0, 0.0, 1.0)),
)


def applies(geometry: Geometry) -> bool:
    """Whether the convolution has 3×3 taps and stride 1, the only ones these algorithms know."""
    return all(axis.taps == 3 and axis.stride == 1 for axis in geometry)


def winograd(
    images: Images, kernel: Float[Array, "3 3 _ _"], geometry: Geometry, *, exchanged: bool = False
) -> Output:
    """A 3×3 convolution of stride 1 by products of transformed images and kernels.

    The batch is walked through in chunks whose transform stays in the processor's cache.
    """
    batch = images.shape[0]
    algorithms = [_algorithm(axis) for axis in geometry]
    kernels = _transform(tap_matrices(kernel), [a.kernel for a in algorithms])

    def chunk(images: Images) -> Output:
        return _filter(images, kernels, geometry, algorithms, exchanged)

    products = len(kernels) * len(kernels[0])
    matrix_bytes = kernels[0][0].size * kernel.dtype.itemsize
    tiles = batch * _tiles(geometry.height) * _tiles(geometry.width)
    transformed_bytes = products * tiles * images.shape[3] * images.dtype.itemsize
    wanted = transformed_bytes / max(CACHED_BYTES, products * matrix_bytes)
    return in_chunks(chunk, images, wanted)


def _algorithm(axis: Axis) -> Algorithm:
    two_pixels = axis.size == axis.out_size == 2 and axis.pad_low == 1
    return TWO_PIXELS if two_pixels else TILES


def _tiles(axis: Axis) -> int:
    return -(-axis.out_size // 2)


def _combine(coefficients: Sequence[float], arrays: Sequence[Array]) -> Array:
    """Linear combination in which a coefficient of 0 or ±1 costs no multiplication."""
    total = None
    for coefficient, array in zip(coefficients, arrays, strict=True):
        if coefficient:
            term = (
                array
                if abs(coefficient) == 1
                else array * jnp.asarray(abs(coefficient), array.dtype)
            )
            if total is None:
                total = term if coefficient > 0 else -term
            else:
                total = total + term if coefficient > 0 else total - term
    assert total is not None
    return total


def _transform(grid: Grid, matrices: Sequence[Matrix]) -> Grid:
    """The first matrix over the rows of the grid, the second over its columns."""
    columns = list(zip(*grid, strict=True))
    rows = [[_combine(c, column) for column in columns] for c in matrices[0]]
    return [[_combine(c, row) for c in matrices[1]] for row in rows]


def _filter(
    images: Images,
    kernels: Grid,
    geometry: Geometry,
    algorithms: Sequence[Algorithm],
    exchanged: bool,
) -> Output:
    height, width = geometry
    batch, _, _, channels = images.shape
    tiles = (_tiles(height), _tiles(width))
    pads = []
    blocks = []
    for axis, algorithm, count in zip(geometry, algorithms, tiles, strict=True):
        low = axis.pad_low if algorithm is TILES else 0
        block = count + 1 if algorithm is TILES else 1
        pads.append((low, 2 * block - axis.size - low, 0))
        blocks.append(block)
    zero = jnp.zeros((), images.dtype)
    images = lax.pad(images, zero, [(0, 0, 0), *pads, (0, 0, 0)])
    images = images.reshape(batch, blocks[0], 2, blocks[1], 2, channels)

    def pixels(i: int, j: int) -> Array:
        """Pixel (i, j) of every tile."""
        return images[:, i // 2 : i // 2 + tiles[0], i % 2, j // 2 : j // 2 + tiles[1], j % 2]

    sizes = [len(algorithm.inputs[0]) for algorithm in algorithms]
    grid = [[pixels(i, j) for j in range(sizes[1])] for i in range(sizes[0])]
    grid = _transform(grid, [a.inputs for a in algorithms])
    pixel_count = batch * tiles[0] * tiles[1]
    shape = (batch, *tiles, kernels[0][0].shape[0 if exchanged else 1])
    contracted = 1 if exchanged else 0

    def product(x: Array, matrix: Array) -> Array:
        dimensions = (((1,), (contracted,)), ((), ()))
        return lax.dot_general(x.reshape(pixel_count, channels), matrix, dimensions).reshape(shape)

    products = [
        [product(x, matrix) for x, matrix in zip(*rows, strict=True)]
        for rows in zip(grid, kernels, strict=True)
    ]
    grid = _transform(products, [a.outputs for a in algorithms])
    output = jnp.stack([jnp.stack(row, axis=3) for row in grid], axis=2)
    output = output.reshape(batch, 2 * tiles[0], 2 * tiles[1], shape[3])
    return output[:, : height.out_size, : width.out_size]
