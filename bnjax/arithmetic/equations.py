"""A function as its list of equations, and running only some of them.

See "Writing custom Jaxpr interpreters in JAX". The probe of internal covariate shift uses it to
share the common part of all layers.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Literal

from bnjax.types import Array

# Calls that only group equations, or tell what to compute again; custom derivatives, loops and
# branches stay whole.
TRANSPARENT = frozenset({"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2"})
# Whose result at a place depends on its operands at this place alone.
ELEMENTWISE = frozenset(
    {"abs", "add", "and", "convert_element_type", "copy", "div", "exp", "integer_pow", "log", "max"}
    | {"min", "mul", "ne", "neg", "not", "or", "pow", "round", "rsqrt", "select_n", "sign", "sqrt"}
    | {"square", "stop_gradient", "sub", "tanh", "xor"}
)

RESHAPES = frozenset({"broadcast_in_dim", "reshape", "squeeze"})


class Equations(NamedTuple):
    """A function of a flat list of arrays with one result, as equations in order."""

    inputs: tuple[Any, ...]  # variables, one for each array
    constants: dict[Any, Array]  # by variable
    body: tuple[Any, ...]
    result: Any  # a variable


class Rows:
    """An array as the rows that it was put together from, each with a first axis of length 1."""

    def __init__(self, pieces: Sequence[Array]) -> None:
        self.pieces = pieces

    @functools.cached_property
    def whole(self) -> Array:
        """All of them together; an equation only where something needs it."""
        return self.pieces[0] if len(self.pieces) == 1 else lax.concatenate(self.pieces, 0)


def trace(function: Callable[..., Array], arguments: Sequence[Array]) -> Equations:
    """The equations of `function(*arguments)`, with nested calls of `jit` taken apart.

    A scan over arrays that were stacked from single ones is unrolled, so that an equation depends
    on no row but its own.
    """
    nested = jax.make_jaxpr(function)(*arguments)

    def run(*values: Array) -> Array:
        return _whole(_run_nested(nested.jaxpr, nested.consts, values)[0])

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
        known.update(zip(equation.outvars, _results(equation, inputs), strict=True))
    return [read(known, variable) for variable in jaxpr.outvars]


def _results(equation: Any, inputs: Sequence[Any]) -> Sequence[Any]:
    name = equation.primitive.name
    if name in TRANSPARENT:
        return _run_nested(*_body(equation.params), inputs)
    rows = [value for value in inputs if isinstance(value, Rows)]
    if name == "stack" and not rows and equation.params["axis"] == 0:  # newer than jax 0.10
        return [Rows([lax.expand_dims(value, [0]) for value in inputs])]
    if name == "concatenate" and not rows and equation.params["dimension"] == 0:
        are_rows = len(inputs) > 1 and all(value.shape[0] == 1 for value in inputs)
        return [Rows(inputs)] if are_rows else evaluate(equation, inputs)
    if rows and name == "scan":
        return _unroll(equation, inputs)
    if rows and name in ELEMENTWISE:
        count = len(rows[0].pieces)
        each = zip(*(_rows(value, count) for value in inputs), strict=True)
        return [Rows([evaluate(equation, row)[0] for row in each])]
    return evaluate(equation, [_whole(value) for value in inputs])


def _body(params: Mapping[str, Any]) -> tuple[Any, Sequence[Any]]:
    """What an equation calls, and the constants of it."""
    inner = params.get("jaxpr") or params["call_jaxpr"]
    return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())


def _whole(value: Any) -> Any:
    return value.whole if isinstance(value, Rows) else value


def _rows(value: Any, count: int) -> Sequence[Any]:
    """An operand of an elementwise equation, row by row; a scalar is the same for all."""
    if isinstance(value, Rows):
        return value.pieces
    if not jnp.ndim(value):
        return [value] * count
    return [lax.slice_in_dim(value, row, row + 1) for row in range(count)]


def _unroll(equation: Any, inputs: Sequence[Any]) -> list[Any]:
    """The results of a scan, its steps one after the other."""
    body, consts = _body(equation.params)
    length, backwards = equation.params["length"], equation.params["reverse"]
    # In order: constants and what is carried, of the body's own shapes; then what is scanned.
    fixed = num_unstacked(equation.invars, body.invars)
    carried = num_unstacked(equation.outvars, body.outvars)
    start = fixed - carried
    carry, made = [_whole(value) for value in inputs[start:fixed]], []
    scanned = [_rows(value, length) for value in inputs[fixed:]]
    for step in reversed(range(length)) if backwards else range(length):
        own = [lax.squeeze(rows[step], [0]) for rows in scanned]
        results = _run_nested(body, consts, [*map(_whole, inputs[:start]), *carry, *own])
        carry = [_whole(value) for value in results[:carried]]
        made.append([lax.expand_dims(_whole(value), [0]) for value in results[carried:]])
    columns = zip(*(reversed(made) if backwards else made), strict=True)
    return [*carry, *map(Rows, columns)]


def num_unstacked(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    """How many variables of a scan have the shape of the body's, without an axis of steps."""
    pairs = zip(outside, inside, strict=True)
    return sum(one.aval.ndim == other.aval.ndim for one, other in pairs)


def scanned(program: Equations) -> dict[Any, int]:
    """The inputs over whose rows a scan goes, as they are or changed elementwise; which scan."""
    source = {variable: variable for variable in program.inputs}
    found: dict[Any, int] = {}
    for place, equation in enumerate(program.body):
        read_here = [source.get(variable) for variable in variables(equation)]
        inputs = {variable for variable in read_here if variable is not None}
        if equation.primitive.name == "scan":
            fixed = num_unstacked(equation.invars, _body(equation.params)[0].invars)
            rows = (variable for variable in equation.invars[fixed:] if is_variable(variable))
            for variable in rows:
                origin = source.get(variable)
                if origin is not None and origin.aval.shape == variable.aval.shape:
                    found.setdefault(origin, place)
        elif equation.primitive.name in ELEMENTWISE | RESHAPES and len(inputs) == 1:
            (origin,) = inputs
            (result,) = equation.outvars
            if result.aval.size == origin.aval.size:
                source[result] = origin
    return found


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
    return filter(is_variable, equation.invars)


def is_variable(variable: Any) -> bool:
    """Whether it is no literal."""
    return not isinstance(variable, Literal)


def programs_inside(equation: Any) -> Iterator[Any]:
    """The bodies of a loop, the branches of a condition, the function of a call."""
    for value in equation.params.values():
        for one in value if isinstance(value, list | tuple) else (value,):
            if hasattr(one, "eqns"):
                yield one


def contents(program: Any) -> Iterator[Any]:
    """What a program is made of, with all programs inside, in order.

    Constants, names of equations, their parameters (axes, shapes, slices) as text, and literals.
    """
    yield from getattr(program, "consts", ())
    for equation in program.eqns:
        yield equation.primitive.name
        yield from (repr(one) for one in equation.params.values() if is_plain(one))
        yield from (one.val for one in equation.invars if not is_variable(one))
        for program_inside in programs_inside(equation):
            yield from contents(program_inside)


def is_plain(value: Any) -> bool:
    """Whether a parameter of an equation is a number, a text, or a tuple of these."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
