"""bnjax's side of the benchmarks: the jobs of `run.py`, and the same written naively."""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bnjax import data, losses, models, probes, train
from bnjax.convolution import convolution
from bnjax.convolution.table import NATIVE

STEP_SIZE = 0.001


def matrix_product_rate(precision: str, size: int) -> float:
    """FLOP/s of one large matrix product: what the machine can do at this precision."""
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    with jax.default_matmul_precision("default" if dtype == jnp.bfloat16 else precision):
        product = jax.jit(jnp.matmul).lower(*[jax.ShapeDtypeStruct((size, size), dtype)] * 2)
    product = product.compile()
    matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        jax.block_until_ready(product(matrix, matrix))
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds[1:])


class BnjaxJobs:
    """One row's network and batch, its job compiled ahead of time."""

    def __init__(self, row: Any, precision: str) -> None:
        self.row = row
        self.precision = "default" if (narrow := precision == "bfloat16") else precision
        hidden = (512, 512) if row.model == "vggA" else ()
        depth = 11 if row.model == "vggA" else int(row.model.removeprefix("vgg"))
        norm = models.norms.by_name(row.norm)
        self.model = models.vgg(depth, norm=norm, width=row.width, hidden=hidden)
        if narrow:
            self.model = dataclasses.replace(self.model, compute_dtype="bfloat16")
        images = jax.random.normal(jax.random.key(0), (row.batch, 32, 32, 3), jnp.float32)
        self.batch = data.Batch(images, jnp.arange(row.batch, dtype=jnp.int32) % 10)
        optimizer = optax.sgd(STEP_SIZE)
        self.state = train.init_state(self.model, optimizer, jax.random.key(1), images)
        pipeline = data.Pipeline(row.batch, row.batch, (0.0,) * 3, (1.0,) * 3)
        self.program = train.make_program(self.model, optimizer, pipeline, precision=self.precision)
        self.step_sizes = STEP_SIZE * jnp.geomspace(1, 2, max(1, row.points), dtype=jnp.float32)
        self.direction = jax.tree.map(jnp.ones_like, self.state.params)

        # As a loop has them: what calls programs is not one itself.
        self.probe = probes.Probe(
            lambda params, state, batch: self.loss(state, batch)(params),
            self.step_sizes,
            gradient=self.gradient,
            precision=self.precision,
        )

    def gradient(self, params: Any, state: Any, batch: Any) -> Any:
        """Training's own gradient at other parameters."""
        found = self.program.gradient(state._replace(params=params), batch)
        return found.loss, found.gradient

    def job(self, state: Any, batch: Any, direction: Any) -> Any:
        """The row's job as one pure function, from state and batch to numbers."""
        with jax.default_matmul_precision(self.precision):
            return getattr(self, self.row.job)(state, batch, direction)

    def compile(self) -> float:
        """Compile the job; seconds, of jobs that call programs those of a first run more."""
        started = time.perf_counter()
        if getattr(self, f"call_{self.row.job}", None):
            jax.block_until_ready(self.run())
            first = time.perf_counter() - started
            self.compiled = self.program.gradient.lower(self.state, self.batch).compile()
            started = time.perf_counter()
            jax.block_until_ready(self.run())
            return first - (time.perf_counter() - started)
        self.arguments = (self.state, self.batch, self.direction)
        self.compiled = jax.jit(self.job).lower(*self.arguments).compile()
        return time.perf_counter() - started

    def run(self) -> Any:
        """One repetition."""
        called = getattr(self, f"call_{self.row.job}", None)
        return self.compiled(*self.arguments) if called is None else called()

    def temporary_mebibytes(self) -> float:
        """Memory that the program needs beside its arguments and results."""
        analysis = self.compiled.memory_analysis()
        return 0.0 if analysis is None else analysis.temp_size_in_bytes / 2**20

    def flops(self) -> float:
        """Operations of the job by the textbook: 3 forward passes a gradient, 2 per product."""
        passes = {
            "train_step": 3.0,
            "landscape": 3.0 * (1 + self.row.points),
            "losses": float(self.row.points),
            "curvature": 9.0 * self.row.points,
            "shift": 0.0,  # depends on the layers; not stated
        }[self.row.job]
        return passes * forward_flops(self.model, self.state, self.batch)

    def loss(self, state: Any, batch: Any) -> Any:
        """The probed loss."""
        return losses.on_batch(self.model, state.batch_stats, batch)

    def call_train_step(self) -> Any:
        """One step of SGD."""
        computed = self.program.gradient(self.state, self.batch)
        self.state, metrics = self.program.update(self.state, computed)
        return self.state, metrics

    def call_landscape(self) -> Any:
        """One step of training, its gradient the centre of a line of `points` more."""
        computed = self.program.gradient(self.state, self.batch)
        centre = computed.loss, computed.gradient
        line = self.probe(self.state.params, self.state, self.batch, centre=centre, limits=False)
        self.state, metrics = self.program.update(self.state, computed)
        return line, self.state, metrics

    def losses(self, state: Any, batch: Any, direction: Any) -> Any:
        """Losses alone along a given direction."""
        loss = self.loss(state, batch)
        return probes.losses_on_line(
            loss, state.params, self.step_sizes, direction, precision=self.precision
        )

    def shift(self, state: Any, batch: Any, direction: Any) -> Any:
        """Internal covariate shift of the last layers of as many equal parts, or of all."""
        del direction
        computed = self.program.gradient(state, batch)
        after, _ = self.program.update(state, computed)
        count = len(state.params)
        names = probes.layer_order(self.loss(state, batch), state.params)
        chosen = [names[count * (k + 1) // (self.row.layers + 1)] for k in range(self.row.layers)]
        return probes.shift(
            self.loss(state, batch),
            state.params,
            after.params,
            layers=chosen or None,
            gradient=computed.gradient,
            precision=self.precision,
        )

    def curvature(self, state: Any, batch: Any, direction: Any) -> Any:
        """`points` Hessian-vector products of a power iteration."""
        gradient = jax.grad(self.loss(state, batch))

        def multiply(_: Any, vector: Any) -> Any:
            unit = optax.tree.scale(1 / optax.tree.norm(vector), vector)
            return jax.jvp(gradient, (state.params,), (unit,))[1]

        return jax.lax.fori_loop(0, self.row.points, multiply, direction)


class NaiveJobs(BnjaxJobs):
    """The landscape step as first written: native convolutions, `vmap` over the points."""

    call_landscape: Any = None

    def compile(self) -> float:
        """Compile with XLA's convolution in every place."""
        chosen, convolution.choose = convolution.choose, lambda *_, **__: NATIVE
        try:
            return super().compile()
        finally:
            convolution.choose = chosen

    def landscape(self, state: Any, batch: Any, direction: Any) -> Any:
        """All points at once, and the gradient at the centre anew."""
        del direction
        loss = self.loss(state, batch)
        _, centre = jax.value_and_grad(loss)(state.params)

        def measure(step_size: Any) -> Any:
            point = optax.tree.add_scale(state.params, -step_size, centre)
            value, gradient = jax.value_and_grad(loss)(point)
            return value, optax.tree.norm(optax.tree.sub(gradient, centre))

        updated = self.program.update(state, self.program.gradient(state, batch))
        return jax.vmap(measure)(self.step_sizes), updated


def forward_flops(model: Any, state: Any, batch: Any) -> float:
    """Multiplications and additions of the products of one forward pass."""
    kernels = {
        name: layer["kernel"].shape for name, layer in state.params.items() if "kernel" in layer
    }
    pixels = [
        (32 // 2**stage) ** 2
        for stage, count in enumerate(model.module.stages)
        for _ in range(count)
    ]
    total = 0.0
    for name, shape in kernels.items():
        position = int(name.removeprefix("conv")) - 1 if name.startswith("conv") else None
        size = pixels[position] if position is not None else 1
        product = 1
        for extent in shape:
            product *= extent
        total += 2.0 * product * size * batch.labels.shape[0]
    return total
