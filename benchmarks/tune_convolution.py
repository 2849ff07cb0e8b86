"""Times every form of a convolution and prints which is fastest where; the table follows from it.

    python benchmarks/tune_convolution.py [--toy] [--dtype float32] [--batch 128]

For each layer shape: milliseconds of the value (v), the input gradient (i) and the kernel gradient
(k), first one by one, then inside `lax.map` over several points, where XLA chooses other layouts.
What counts is the loop. `bnjax/convolution/table.py` holds the rules drawn from the
last lines; a form within a few per cent of the fastest may be kept for simplicity. Runs unchanged
on any backend.
"""

import argparse
import functools
import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import Array, lax

from bnjax.convolution import winograd
from bnjax.convolution.forms import FORMS, apply_form
from bnjax.convolution.geometry import Geometry, make_axis
from bnjax.convolution.table import choose


class Layer(NamedTuple):
    """One convolution with SAME padding."""

    size: int
    taps: int
    stride: int
    in_channels: int
    out_channels: int


LAYERS = (
    # VGG on 32×32 pixels, full width and a quarter of it.
    *(Layer(size, 3, 1, 3, c) for size, c in ((32, 64), (32, 16))),
    *(
        Layer(size, 3, 1, c // n, c // n)
        for n in (1, 4)
        for size, c in ((32, 64), (16, 128), (8, 256), (4, 512), (2, 512), (1, 512))
    ),
    # Residual networks and older ones.
    Layer(32, 3, 2, 64, 128),
    Layer(16, 1, 1, 128, 128),
    Layer(16, 1, 2, 128, 256),
    Layer(16, 5, 1, 64, 64),
    Layer(32, 7, 2, 3, 64),
    Layer(32, 11, 2, 3, 64),
)
TOY_LAYERS = (Layer(5, 3, 1, 3, 4),)
OPERATIONS = ("value", "input_gradient", "kernel_gradient")
# 0.6 GFLOP/s inside a loop (jax issue 12868): half a minute a call, and never the fastest.
HOPELESS = ("cpu", "native", "kernel_gradient")


def candidates(geometry: Geometry) -> list[str]:
    """The forms that can compute the layer."""
    special = ("winograd", "flipped winograd")
    return [name for name in FORMS if name not in special or winograd.applies(geometry)]


def operation(name: str, form: str, geometry: Geometry) -> Callable[[Array, Array, Array], Array]:
    """The value or one of the gradients as a function of images, kernel and cotangent."""
    convolution = functools.partial(apply_form, form, geometry=geometry)

    def value(images: Array, kernel: Array, cotangent: Array) -> Array:
        return convolution(images, kernel)

    def input_gradient(images: Array, kernel: Array, cotangent: Array) -> Array:
        linear = functools.partial(convolution, kernel=kernel)
        return jax.linear_transpose(linear, images)(cotangent)[0]

    def kernel_gradient(images: Array, kernel: Array, cotangent: Array) -> Array:
        linear = functools.partial(convolution, images)
        return jax.linear_transpose(linear, kernel)(cotangent)[0]

    return {
        "value": value,
        "input_gradient": input_gradient,
        "kernel_gradient": kernel_gradient,
    }[name]


def median_seconds(function: Callable[..., Array], *arguments: Array, repeats: int) -> float:
    """Median time of a call, after one that is not counted."""
    compiled = jax.jit(function).lower(*arguments).compile()
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def measure(layer: Layer, batch: int, points: int, dtype: str, repeats: int) -> None:
    """Print the times of one layer and what is fastest."""
    axis = make_axis(layer.size, layer.taps, layer.stride, "SAME")
    geometry = Geometry(axis, axis)
    shapes = (
        (points, batch, layer.size, layer.size, layer.in_channels),
        (points, layer.taps, layer.taps, layer.in_channels, layer.out_channels),
        (points, batch, axis.out_size, axis.out_size, layer.out_channels),
    )
    keys = jax.random.split(jax.random.key(0), len(shapes))
    stacked = [jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True)]
    single = [array[0] for array in stacked]
    in_loop: dict[str, dict[str, float]] = {name: {} for name in OPERATIONS}
    print(f"\n{layer}: milliseconds one by one / in a loop", flush=True)
    for form in candidates(geometry):
        cells = []
        for name in OPERATIONS:
            one = operation(name, form, geometry)

            def loop(*arrays: Array, one: Callable[..., Array] = one) -> Array:
                return lax.map(lambda point: one(*point), arrays)

            alone = median_seconds(one, *single, repeats=repeats)
            if (jax.default_backend(), form, name) == HOPELESS:
                in_loop[name][form] = math.nan
            else:
                in_loop[name][form] = median_seconds(loop, *stacked, repeats=repeats) / points
            cells.append(f"{name[0]} {1e3 * alone:8.2f} / {1e3 * in_loop[name][form]:8.2f}")
        print(f"  {form:17}", "   ".join(cells), flush=True)
    chosen = choose(jax.default_backend(), geometry, layer.in_channels, layer.out_channels)
    for name, now in zip(OPERATIONS, chosen, strict=True):
        times = in_loop[name]
        best = min(times, key=lambda form: (math.isnan(times[form]), times[form]))
        ratio = times[now] / times[best]
        print(f"  fastest in a loop: {name:15} {best:17} (table: {now}, {ratio:.2f} of it)")


def main() -> None:
    """Measure all layers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, nargs="*", help="only those, counted from 0")
    parser.add_argument("--toy", action="store_true", help="one tiny layer, one repetition")
    parser.add_argument("--batch", type=int, default=128, help="images (default: %(default)s)")
    parser.add_argument("--points", type=int, default=3, help="of the loop (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="median of (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64", "bfloat16"))
    options = parser.parse_args()
    if options.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}, {options.dtype}")
    layers = LAYERS if options.layers is None else [LAYERS[index] for index in options.layers]
    for layer in TOY_LAYERS if options.toy else layers:
        batch, points, repeats = options.batch, options.points, options.repeats
        if options.toy:
            batch, points, repeats = 4, 2, 1
        measure(layer, batch, points, options.dtype, repeats)


if __name__ == "__main__":
    main()
