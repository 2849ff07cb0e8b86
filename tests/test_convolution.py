"""`convolve` against XLA's own convolution, in every form, derivative and transformation."""

import functools
import itertools
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec

from bnjax.convolution import convolution, forms, table, winograd
from bnjax.convolution.chunks import nearest_divisor
from bnjax.convolution.convolution import convolve
from bnjax.convolution.forms import DIMENSIONS, FORMS, apply_form
from bnjax.convolution.geometry import Geometry, make_axis
from bnjax.convolution.table import Choice
from bnjax.errors import UsageError

REPOSITORY = Path(__file__).parents[1]


def reference(images, kernel, *, strides=(1, 1), padding="SAME"):
    return lax.conv_general_dilated(images, kernel, strides, padding, dimension_numbers=DIMENSIONS)


def problem(size, taps=(3, 3), channels=(3, 4), batch=2, dtype=jnp.float64, seed=0):
    keys = jax.random.split(jax.random.key(seed), 2)
    images = jax.random.normal(keys[0], (batch, *size, channels[0]), dtype)
    kernel = jax.random.normal(keys[1], (*taps, *channels), dtype)
    return images, kernel


def assert_close(actual, desired, rounding=200):
    """Equal up to `rounding` units of the last place of the largest element."""
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(desired), strict=True):
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        epsilon = float(jnp.finfo(jax.tree.leaves(actual)[0].dtype).eps)
        np.testing.assert_allclose(a, b, rtol=0, atol=rounding * epsilon * np.abs(b).max())


def legal(name, taps, strides):
    if "flipped" in name and strides != (1, 1):
        return False
    return "winograd" not in name or (taps == (3, 3) and strides == (1, 1))


@pytest.fixture(autouse=True)
def small_networks_use_winograd_too(monkeypatch):
    """The table's thresholds are about speed; below them every rule can be seen at small sizes."""
    monkeypatch.setattr(table, "WIDE", 16)
    monkeypatch.setattr(table, "WORTH_COMPILING", 0)


# size, taps, strides, padding: even and odd, square and not, smaller than the kernel.
CASES = [
    ((1, 1), (3, 3), (1, 1), "SAME"),
    ((2, 2), (3, 3), (1, 1), "SAME"),
    ((2, 3), (3, 3), (1, 1), "SAME"),
    ((4, 3), (3, 3), (1, 1), "VALID"),
    ((3, 4), (1, 1), (1, 1), "SAME"),
    ((3, 4), (1, 1), (2, 2), "SAME"),
    ((1, 4), (3, 3), (2, 2), "SAME"),
    ((7, 6), (3, 3), (1, 2), "VALID"),
    ((2, 5), (5, 2), (1, 1), "SAME"),
    ((6, 5), (1, 3), (2, 1), "VALID"),
    ((8, 7), (5, 5), (2, 2), "SAME"),
    ((8, 9), (7, 7), (2, 1), "VALID"),
    ((3, 2), (11, 11), (4, 4), "SAME"),
]


@pytest.mark.parametrize(("size", "taps", "strides", "padding"), CASES)
def test_every_form_is_the_convolution(size, taps, strides, padding):
    images, kernel = problem(size, taps)
    expected = reference(images, kernel, strides=strides, padding=padding)
    axes = (make_axis(*numbers, padding) for numbers in zip(size, taps, strides, strict=True))
    geometry = Geometry(*axes)
    assert expected.shape[1:3] == tuple(axis.out_size for axis in geometry)
    names = [name for name in FORMS if legal(name, taps, strides)]

    def every_form(images, kernel):
        return {name: apply_form(name, images, kernel, geometry) for name in names}

    for output in jax.jit(every_form)(images, kernel).values():
        assert_close(output, expected)


def value_and_gradients(conv, images, kernel, cotangent):
    value, pullback = jax.vjp(conv, images, kernel)
    return value, pullback(cotangent)


BOTH = (convolve, reference)
STRIDED = [((3, 3), (1, 1), "VALID"), ((3, 3), (2, 2), "SAME"), ((1, 1), (2, 2), "SAME")]


@pytest.mark.parametrize(
    ("size", "taps", "channels", "dtype", "options"),
    [
        *(
            (size, (3, 3), channels, dtype, {})
            for size, channels in [((1, 1), (16, 20)), ((2, 2), (16, 20)), ((7, 5), (3, 16))]
            for dtype in (jnp.float64, jnp.float32, jnp.bfloat16)
        ),
        ((4, 4), (3, 3), (17, 3), jnp.float64, {}),
        *(
            ((9, 8), taps, (3, 4), jnp.float64, {"strides": strides, "padding": padding})
            for taps, strides, padding in [*STRIDED, ((5, 5), (2, 1), "VALID")]
        ),
    ],
)
def test_value_and_both_gradients(size, taps, channels, dtype, options):
    point = problem(size, taps, channels, dtype=dtype)
    cotangent = reference(point[0][::-1], point[1], **options)
    results = (
        jax.jit(functools.partial(value_and_gradients, functools.partial(conv, **options)))
        for conv in BOTH
    )
    rounding = 1 if dtype == jnp.bfloat16 else 100
    assert_close(*(result(*point, cotangent) for result in results), rounding)


# (size, taps, channels): the rules of the table, each at least once.
RULES = [
    ((1, 1), (3, 3), (16, 16)),
    ((2, 2), (3, 3), (16, 16)),
    ((5, 6), (3, 3), (16, 18)),
    ((5, 6), (3, 3), (3, 5)),
    ((5, 6), (5, 5), (16, 4)),
]


def network(conv, images, kernel):
    return jnp.sum(jnp.tanh(conv(jnp.sin(images), kernel)) ** 2)


def second_derivatives(conv, points):
    """Forward and reverse mode, over each other."""
    loss, point, vector = functools.partial(network, conv), points[0], points[1]
    gradient = jax.grad(loss, (0, 1))

    def slope(*point):
        return jax.jvp(loss, point, vector)[1]

    def product(*point):
        return sum(map(jnp.vdot, gradient(*point), vector))

    return {
        "forward": slope(*point),
        "forward over reverse": jax.jvp(gradient, point, vector)[1],
        "reverse over reverse": jax.grad(product, (0, 1))(*point),
        "reverse over forward": jax.grad(slope, (0, 1))(*point),
        "forward over forward": jax.jvp(slope, point, vector)[1],
    }


def vmaps(conv, points):
    """Over images, kernels and both."""
    images, kernels = (jnp.stack(leaves) for leaves in zip(*points, strict=True))
    gradients = jax.grad(functools.partial(network, conv), (0, 1))
    return [
        jax.vmap(gradients, axes)(*arguments)
        for axes, arguments in [
            ((0, None), (images, kernels[0])),
            ((None, 0), (images[0], kernels)),
            ((0, 0), (images, kernels)),
        ]
    ]


def in_map(function, kernels):
    return lax.map(function, kernels)


def in_scan(function, kernels):
    return lax.scan(lambda carry, kernel: (carry, function(kernel)), 0, kernels)[1]


def in_while(function, kernels):
    def body(state):
        i, out = state
        return i + 1, out.at[i].set(function(kernels[i]))

    return lax.while_loop(lambda s: s[0] < len(kernels), body, (0, jnp.zeros_like(kernels)))[1]


def in_checkpoint(function, kernels):
    return lax.map(jax.checkpoint(function), kernels)


def in_shard_map(function, kernels):
    mesh = jax.make_mesh((1,), ("probe",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("probe")
    mapped = functools.partial(lax.map, function)
    return jax.shard_map(mapped, mesh=mesh, in_specs=spec, out_specs=spec)(kernels)


def in_loop(loop, conv, points):
    """The gradient in control flow; of XLA's own convolution without any."""
    kernels = jnp.stack([points[0][1], 2 * points[0][1]])
    gradient = jax.grad(lambda kernel: network(conv, points[0][0], kernel))
    if conv is convolve:
        return loop(gradient, kernels)
    return jnp.stack([gradient(kernel) for kernel in kernels])


LOOPS = (in_map, in_scan, in_while, in_checkpoint, in_shard_map)


@pytest.mark.full  # many compiles
@pytest.mark.parametrize(
    "transform", [second_derivatives, vmaps, *(functools.partial(in_loop, loop) for loop in LOOPS)]
)
@pytest.mark.parametrize(("size", "taps", "channels"), RULES)
def test_transformations(transform, size, taps, channels):
    points = [problem(size, taps, channels, seed=seed) for seed in range(3)]
    assert_close(*(jax.jit(functools.partial(transform, c))(points) for c in BOTH), 1000)


@pytest.mark.full  # many compiles
def test_gradient_through_a_scan_over_layers():
    images, kernel = problem((4, 4), channels=(16, 16))
    kernels = jnp.stack([kernel, 2 * kernel]) / 16

    def loss(conv, kernels):
        layer = lambda images, kernel: (jnp.tanh(conv(images, kernel)), None)  # noqa: E731
        return jnp.sum(lax.scan(layer, images, kernels)[0] ** 2)

    assert_close(*(jax.jit(jax.grad(functools.partial(loss, c)))(kernels) for c in BOTH), 1000)


@pytest.mark.parametrize(("size", "channels"), [((2, 2), 64), ((8, 8), 64), ((9, 7), 64)])
def test_winograd_rounds_like_direct_summation(size, channels):
    images, kernel = problem(size, channels=(channels, channels))
    exact = reference(images, kernel)
    single = [x.astype(jnp.float32) for x in (images, kernel)]
    axes = (make_axis(pixels, 3, 1, "SAME") for pixels in size)
    error = np.abs(np.asarray(winograd.winograd(*single, Geometry(*axes))) - np.asarray(exact))
    assert error.max() < 16 * jnp.finfo(jnp.float32).eps * np.abs(np.asarray(exact)).max()


@pytest.mark.parametrize("name", ["winograd", "flipped winograd", "bands"])
def test_a_batch_walked_through_in_chunks_gives_the_same(name, monkeypatch):
    images, kernel = problem((6, 6), channels=(5, 7), batch=6)
    monkeypatch.setattr(winograd, "CACHED_BYTES", 1)
    monkeypatch.setattr(forms, "BAND_BYTES", 1)
    axis = make_axis(6, 3, 1, "SAME")

    def loss(form, images, kernel):
        weights = jnp.arange(6.0).reshape(6, 1, 1, 1)
        return jnp.sum(weights * form(images, kernel) ** 2)

    chunks = functools.partial(apply_form, name, geometry=Geometry(axis, axis))
    assert "scan" in str(jax.make_jaxpr(chunks)(images, kernel))
    actual = jax.jit(jax.grad(functools.partial(loss, chunks), (0, 1)))(images, kernel)
    assert_close(actual, jax.grad(functools.partial(loss, reference), (0, 1))(images, kernel))


def test_chunks_divide_the_batch_and_an_empty_one_gives_an_empty_output():
    for number, wanted, divisor in (
        (128, 4.2, 4),
        (127, 4.0, 1),
        (6, 2.9, 3),
        (1, 9, 1),
        (0, 1, 1),
    ):
        assert nearest_divisor(number, float(wanted)) == divisor
    images, kernel = problem((4, 4), channels=(16, 16), batch=0)
    assert convolve(images, kernel).shape == (0, 4, 4, 16)


@pytest.mark.parametrize("choice", ["taps", "native"])
def test_what_is_not_differentiated_costs_nothing(choice, monkeypatch):
    monkeypatch.setattr(convolution, "choose", lambda *_, **__: Choice(choice, choice, choice))
    images, kernel = problem((4, 4), channels=(16, 16))

    def products(function):
        text = jax.jit(function).lower(images, kernel).as_text()
        return text.count("stablehlo.dot_general") + text.count("stablehlo.convolution")

    def slope(argument, images, kernel):
        """Forward mode in one argument alone."""
        rest = [lambda x: convolve(x, kernel), lambda k: convolve(images, k)][argument]
        point = (images, kernel)[argument]
        return jax.jvp(rest, (point,), (point,))

    one = {"taps": 9, "native": 1}[choice]
    for argument in (0, 1):
        gradient = jax.grad(functools.partial(network, convolve), argument)
        assert products(gradient) == 2 * one
        assert products(functools.partial(slope, argument)) == 2 * one
    assert products(jax.grad(functools.partial(network, convolve), (0, 1))) == 3 * one


def test_matmul_precision_is_respected():
    images, kernel = problem((4, 4), channels=(16, 16))
    gradient = jax.grad(functools.partial(network, convolve), (0, 1))
    with jax.default_matmul_precision("highest"):
        text = jax.jit(gradient).lower(images, kernel).as_text()
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert products
    assert all("HIGHEST" in line for line in products)


def test_the_table_names_known_forms_that_apply_and_native_ones_where_nothing_was_measured():
    numbers = itertools.product([1, 2, 4, 32], [1, 3, 5], [1, 2], ["SAME", "VALID"], [3, 64, 512])
    for size, taps, stride, padding, channels in numbers:
        axis = make_axis(size, taps, stride, padding)
        choice = table.choose("cpu", Geometry(axis, axis), channels, channels)
        assert all(name in FORMS and legal(name, (taps, taps), (stride, stride)) for name in choice)
        for backend in ("gpu", "cuda", "rocm", "tpu", "METAL"):
            native = table.choose(backend, Geometry(axis, axis), channels, channels)
            assert native == Choice("native", "native", "native")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, k: convolve(x[0], k), "do not fit"),
        (lambda x, k: convolve(x, k[:, :, 1:]), "do not fit"),
        (lambda x, k: convolve(x.astype(jnp.float32), k), "same floating dtype"),
        (lambda x, k: convolve(x, k, padding="same"), "choose SAME or VALID"),
        (lambda x, k: convolve(x, k, strides=(0, 1)), "two integers of 1 or more"),
        (lambda x, k: convolve(x[:, :2], k, padding="VALID"), "leaves nothing"),
    ],
)
def test_wrong_calls_name_the_remedy(change, message):
    with pytest.raises(UsageError, match=message):
        change(*problem((4, 4)))


@pytest.mark.full  # a program
def test_the_tuning_benchmark_runs_and_prints_its_table():
    script = REPOSITORY / "benchmarks" / "tune_convolution.py"
    call = [sys.executable, str(script), "--toy"]
    run = subprocess.run(call, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    assert "fastest in a loop" in run.stdout
    assert all(name in run.stdout for name in ("native", "taps", "bands", "winograd"))


@pytest.mark.parametrize(("channels", "inside", "outside"), [(8, 1, 3), (16, 0, 0)])
def test_outside_loops_few_channels_take_the_gradients_of_xla(channels, inside, outside):
    images, kernel = jnp.ones((2, 8, 8, channels)), jnp.ones((3, 3, channels, channels))

    def count() -> int:
        gradients = jax.grad(lambda *arrays: jnp.square(convolve(*arrays)).sum(), (0, 1))
        return str(jax.make_jaxpr(gradients)(images, kernel)).count("conv_general_dilated[")

    assert count() == inside
    with convolution.outside_loops():
        assert count() == outside
    assert count() == inside


@pytest.fixture
def on_accelerator(monkeypatch):
    """Convolutions are traced as for an accelerator."""
    monkeypatch.setattr(convolution.jax, "default_backend", lambda: "gpu")


POINTS = [
    ((4, 4), (3, 3), {}),  # one product for all points
    ((3, 4), (2, 2), {"padding": "VALID"}),
    ((6, 5), (3, 3), {"strides": (2, 1)}),  # one point after the other
]


@pytest.mark.parametrize(("size", "taps", "options"), POINTS)
@pytest.mark.parametrize("mapped", ["images", "kernel", "both"])
def test_points_of_an_accelerator_are_the_convolution_at_each(
    on_accelerator, size, taps, options, mapped
):
    problems = [problem(size, taps, seed=seed) for seed in range(3)]
    images, kernels = (jnp.stack(arrays) for arrays in zip(*problems, strict=True))
    axes = {"images": (0, None), "kernel": (None, 0), "both": (0, 0)}[mapped]
    point = [x if axis == 0 else x[0] for x, axis in zip((images, kernels), axes, strict=True)]

    def derivatives(conv):
        def loss(images, kernel):
            return jnp.sum(jnp.sin(conv(images, kernel, **options)))

        def hessian_product(images, kernel):
            direction = jnp.cos(images), jnp.sin(kernel)
            return jax.jvp(jax.grad(loss, (0, 1)), (images, kernel), direction)

        return jax.jit(jax.vmap(hessian_product, axes))(*point)

    assert_close(derivatives(convolve), derivatives(reference))


def test_small_images_of_many_points_are_products_without_groups_and_large_ones_a_loop(
    on_accelerator,
):
    def lowered(size):
        problems = [problem(size, channels=(8, 8), seed=seed) for seed in range(3)]
        points = [jnp.stack(arrays) for arrays in zip(*problems, strict=True)]
        gradient = jax.grad(lambda *point: jnp.sum(convolve(*point) ** 2), (0, 1))
        return jax.jit(jax.vmap(gradient)).lower(*points).as_text()

    small, large = lowered((4, 4)), lowered((8, 8))
    assert "dot_general" in small
    assert "stablehlo.convolution" not in small
    assert "stablehlo.while" in large
    assert large.count("stablehlo.convolution") == 3  # value and both gradients
    groups = re.findall(r"feature_group_count = (\d+)", large)
    assert set(groups) == {"1"}


@pytest.mark.parametrize("size", [(4, 4), (8, 8)])
@pytest.mark.parametrize("mapped", [True, False])
def test_an_accelerators_convolution_keeps_the_precision_that_it_was_traced_at(
    on_accelerator, size, mapped
):
    def gradient(*point):
        with jax.default_matmul_precision("highest"):
            return jax.grad(lambda *point: jnp.sum(convolve(*point) ** 2), (0, 1))(*point)

    points = [jnp.stack([x, x]) if mapped else x for x in problem(size, channels=(8, 8))]
    text = jax.jit(jax.vmap(gradient) if mapped else gradient).lower(*points).as_text()
    products = re.findall(r"(?:dot_general|stablehlo\.convolution)\b.*", text)
    assert len(products) >= 3
    for product in products:
        assert "HIGHEST" in product
        assert "DEFAULT" not in product


@pytest.mark.parametrize(("size", "channels"), [((8, 8), 16), ((2, 2), 16), ((2, 2), 4)])
def test_without_winograd_convolutions_sum_directly_and_compiled_ones_are_compiled_again(
    size, channels, monkeypatch
):
    images, kernel = problem(size, channels=(channels, channels))
    chosen, compiled = [], jax.jit(convolve)

    def recorded(*arguments, **options):
        chosen.append(table.choose(*arguments, **options))
        return chosen[-1]

    monkeypatch.setattr(convolution, "choose", recorded)
    with convolution.outside_loops():
        fast = compiled(images, kernel)
        with convolution.without_winograd():
            direct = compiled(images, kernel)
        again = compiled(images, kernel)
    assert ["winograd" in choice.value for choice in chosen] == [True, False]
    np.testing.assert_array_equal(fast, again)
    assert_close(direct, reference(images, kernel))


def test_without_winograd_no_rule_of_the_table_has_it():
    for size, channels, looped in itertools.product([1, 2, 4, 32], [3, 64, 512], [False, True]):
        axis = make_axis(size, 3, 1, "SAME")
        options = {"looped": looped, "direct": True}
        choice = table.choose("cpu", Geometry(axis, axis), channels, channels, **options)
        assert not any("winograd" in form for form in choice)


def test_winograd_can_be_switched_off_in_the_environment():
    assert [convolution.is_off(chosen) for chosen in ("", "1", "0")] == [False, False, True]
    with pytest.raises(UsageError, match="BNJAX_WINOGRAD=off is not known: choose 0 or 1"):
        convolution.is_off("off")
