"""Eight small transformers in plain JAX, which differ in what they normalise and where."""

import math

import jax
import jax.numpy as jnp
import numpy as np

BLOCKS = 2
WIDTH, HEADS, CHANNELS, HIDDEN, VOCABULARY, LENGTH = 16, 2, 6, 20, 11, 8


def rms(x, epsilon=0.0):
    return x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + epsilon)


def standardise(x, epsilon=0.0):
    return rms(x - x.mean(axis=-1, keepdims=True), epsilon)


def unit(x, axis=-1):
    return x / jnp.linalg.norm(x, axis=axis, keepdims=True)


def attend(queries, keys, values):
    scores = jnp.einsum("bqhc,bkhc->bhqk", queries, keys) / CHANNELS**0.5
    seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf))
    return jnp.einsum("bhqk,bkhc->bqhc", weights, values)


def affine(params, x, axes=1):
    return jnp.tensordot(x, params["kernel"], axes) + params.get("bias", 0.0)


SHAPES = {
    "query": ((WIDTH, HEADS, CHANNELS), 1),
    "key": ((WIDTH, HEADS, CHANNELS), 1),
    "value": ((WIDTH, HEADS, CHANNELS), 1),
    "out": ((HEADS, CHANNELS, WIDTH), 2),
    "up": ((WIDTH, HIDDEN), 1),
    "down": ((HIDDEN, WIDTH), 1),
}
NORMS = {
    "layer": lambda p, x: standardise(x) * p["scale"] + p["bias"],
    "rms": lambda p, x: rms(x) * p["scale"],
    "dyt": lambda p, x: jnp.tanh(p["alpha"] * x) * p["scale"] + p["bias"],
    "none": lambda p, x: x,
}
OWN = {"layer": ("scale", "bias"), "rms": ("scale",), "dyt": ("scale", "bias", "alpha"), "none": ()}


def make_params(norm, biased, qk_blocks=(), seed=0):
    """Parameters of a transformer; `biased` layers have a bias."""
    random = np.random.default_rng(seed)

    def draw(*shape, fan_in):
        return jnp.asarray(random.normal(size=shape) / fan_in**0.5)

    def own(width):
        size = {"alpha": ()}
        start = {name: 1.0 + 0.1 * random.normal(size=size.get(name, width)) for name in OWN[norm]}
        return {name: jnp.asarray(value) for name, value in start.items()}

    params = {
        "tokens": draw(VOCABULARY, WIDTH, fan_in=1),
        "positions": draw(LENGTH, WIDTH, fan_in=4),
        "norm": own(WIDTH),
        "head": {
            "kernel": draw(WIDTH, VOCABULARY, fan_in=WIDTH),
            "bias": draw(VOCABULARY, fan_in=9),
        },
    }
    for index in range(BLOCKS if not qk_blocks else max(*qk_blocks, BLOCKS - 1) + 1):
        block = {"norm1": own(WIDTH), "norm2": own(WIDTH)}
        for name, (shape, axes) in SHAPES.items():
            block[name] = {"kernel": draw(*shape, fan_in=math.prod(shape[:axes]))}
            if name in biased:
                block[name]["bias"] = draw(*shape[axes:], fan_in=9)
        if index in qk_blocks:
            block["query_norm"], block["key_norm"] = (
                {"scale": 1 + draw(CHANNELS, fan_in=100)} for _ in range(2)
            )
        params[f"block{index}"] = block
    return params


def make_loss(norm, place):
    """The loss of a transformer whose normalisers stand before, after or around its branches."""
    normalise = NORMS[norm]
    before = normalise if place in ("pre", "peri") else NORMS["none"]
    behind = normalise if place == "peri" else NORMS["none"]

    def loss(params, tokens):
        x = params["tokens"][tokens[:, :-1]] + params["positions"]
        for name in sorted(name for name in params if name.startswith("block")):
            block = params[name]

            def attention(x, block=block):
                queries, keys, values = (affine(block[n], x) for n in ("query", "key", "value"))
                if "query_norm" in block:
                    queries = rms(queries) * block["query_norm"]["scale"]
                    keys = rms(keys) * block["key_norm"]["scale"]
                return affine(block["out"], attend(queries, keys, values), 2)

            def perceptron(x, block=block):
                return affine(block["down"], jax.nn.gelu(affine(block["up"], x)))

            for branch, own in ((attention, block["norm1"]), (perceptron, block["norm2"])):
                x = x + behind(own, branch(before(own, x)))
                x = normalise(own, x) if place == "post" else x
        logits = affine(params["head"], normalise(params["norm"], x))
        chosen = jax.nn.log_softmax(logits)[..., None]
        return -jnp.mean(jnp.take_along_axis(chosen, tokens[:, 1:, None, None], axis=2))

    return loss


def make_ngpt():
    """nGPT (2410.01131): vectors of all matrices and of the residual stream have norm 1."""
    params = make_params("none", ())
    params = {name: part for name, part in params.items() if name not in ("positions", "norm")}
    params["head"] = {"kernel": params["head"]["kernel"], "scale": jnp.full(VOCABULARY, 3.0)}
    for index in range(BLOCKS):
        block = params[f"block{index}"]
        del block["norm1"], block["norm2"]
        block |= {
            "query_key_scale": jnp.full((HEADS, CHANNELS), 2.0),
            "up_scale": jnp.full(HIDDEN, 2.0),
        }
        block |= {"attention_rate": jnp.full(WIDTH, 0.3), "mlp_rate": jnp.full(WIDTH, 0.3)}

    def loss(params, tokens):
        x = unit(params["tokens"])[tokens[:, :-1]]
        for index in range(BLOCKS):
            block = params[f"block{index}"]
            kernel = {name: block[name]["kernel"] for name in SHAPES}
            queries, keys, values = (
                jnp.tensordot(x, unit(kernel[name], 0), 1) for name in ("query", "key", "value")
            )
            queries, keys = (unit(part) * block["query_key_scale"] for part in (queries, keys))
            mixed = jnp.tensordot(attend(queries, keys, values), unit(kernel["out"]), 2)
            x = unit(x + block["attention_rate"] * (unit(mixed) - x))
            hidden = jax.nn.silu(jnp.tensordot(x, unit(kernel["up"], 0), 1) * block["up_scale"])
            mixed = jnp.tensordot(hidden, unit(kernel["down"]), 1)
            x = unit(x + block["mlp_rate"] * (unit(mixed) - x))
        logits = params["head"]["scale"] * (x @ unit(params["head"]["kernel"], 0))
        chosen = jax.nn.log_softmax(logits)[..., None]
        return -jnp.mean(jnp.take_along_axis(chosen, tokens[:, 1:, None, None], axis=2))

    return loss, params


ALL = (*SHAPES,)
TOKENS = jnp.asarray(np.random.default_rng(1).permutation(np.arange(4 * (LENGTH + 1)) % VOCABULARY))
TOKENS = TOKENS.reshape(4, LENGTH + 1)
TRANSFORMERS = {
    "QK-norm": lambda: (
        make_loss("layer", "pre"),
        make_params("layer", ("value", "out", "up", "down"), qk_blocks=(0, 1)),
    ),
    "peri-LN": lambda: (make_loss("layer", "peri"), make_params("layer", ("query", "key", "up"))),
    "pre-LN": lambda: (make_loss("layer", "pre"), make_params("layer", ALL)),
    "post-LN": lambda: (make_loss("layer", "post"), make_params("layer", ALL)),
    "nGPT": make_ngpt,
    "DyT": lambda: (make_loss("dyt", "pre"), make_params("dyt", ALL)),
    "RMSNorm": lambda: (make_loss("rms", "pre"), make_params("rms", ALL)),
    "none": lambda: (make_loss("none", "pre"), make_params("none", ALL)),
}
