"""A function as its list of equations, and running only some of them.

See "Writing custom Jaxpr interpreters in JAX". The probe of internal covariate shift uses it to
share the common part of all layers.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal

from bnjax.types import Array

# Calls that only group equations; custom derivatives, loops and branches stay whole.
TRANSPARENT = frozenset({"jit", "pjit", "closed_call", "core_call"})


class Equations(NamedTuple):
    """A function of a flat list of arrays with one result, as equations in order."""

    inputs: tuple[Any, ...]  # variables, one for each array
    constants: dict[Any, Array]  # by variable
    body: tuple[Any, ...]
    result: Any  # a variable


def trace(function: Callable[..., Array], arguments: Sequence[Array]) -> Equations:
    """The equations of `function(*arguments)`, with nested calls of `jit` taken apart."""
    nested = jax.make_jaxpr(function)(*arguments)

    def run(*values: Array) -> Array:
        return _run_nested(nested.jaxpr, nested.consts, values)[0]

    flat = jax.make_jaxpr(run)(*arguments)
    return Equations(
        inputs=tuple(flat.jaxpr.invars),
        constants=dict(zip(flat.jaxpr.constvars, flat.consts, strict=True)),
        body=tuple(flat.jaxpr.eqns),
        result=flat.jaxpr.outvars[0],
    )


def _run_nested(jaxpr: Any, constants: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *values), strict=True))
    for equation in jaxpr.eqns:
        inputs = [read(known, variable) for variable in equation.invars]
        if equation.primitive.name in TRANSPARENT:
            inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
            constants = getattr(inner, "consts", ())
            outputs = _run_nested(getattr(inner, "jaxpr", inner), constants, inputs)
        else:
            outputs = evaluate(equation, inputs)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(known, variable) for variable in jaxpr.outvars]


def evaluate(equation: Any, inputs: Sequence[Any]) -> list[Any]:
    """The results of one equation."""
    params = equation.primitive.get_bind_params(equation.params)
    results = equation.primitive.bind(*inputs, **params)
    return list(results) if equation.primitive.multiple_results else [results]


class Segment(NamedTuple):
    """Some of a function's equations, as one compiled call."""

    inputs: tuple[Any, ...]  # variables read from outside
    outputs: tuple[Any, ...]  # variables that the rest of the function reads
    call: Callable[..., list[Array]]


def segment(body: Sequence[Any], needed: Collection[Any]) -> Segment:
    """Equations as one call: traced, differentiated and lowered once, however often it runs."""
    made = [variable for equation in body for variable in equation.outvars]
    read_here = dict.fromkeys(variable for equation in body for variable in variables(equation))
    inputs = tuple(variable for variable in read_here if variable not in set(made))
    outputs = tuple(variable for variable in made if variable in needed)

    @jax.jit
    def call(*values: Array) -> list[Array]:
        known: dict[Any, Any] = dict(zip(inputs, values, strict=True))
        for equation in body:
            arguments = [read(known, variable) for variable in equation.invars]
            known.update(zip(equation.outvars, evaluate(equation, arguments), strict=True))
        return [known[variable] for variable in outputs]

    return Segment(inputs, outputs, call)


def run(segments: Sequence[Segment], known: Mapping[Any, Any]) -> dict[Any, Any]:
    """`known` and the outputs of the segments, which run in order."""
    values = dict(known)
    for part in segments:
        results = part.call(*(values[variable] for variable in part.inputs))
        values.update(zip(part.outputs, results, strict=True))
    return values


def read(known: dict[Any, Any], variable: Any) -> Any:
    """The value of a variable or of a literal."""
    return variable.val if isinstance(variable, Literal) else known[variable]


def variables(equation: Any) -> Iterator[Any]:
    """The variables that an equation reads; literals are none."""
    return (variable for variable in equation.invars if not isinstance(variable, Literal))
