"""Docstrings of bnjax as Sphinx wants them: Markdown's `code` and $formulas$, fields with comments.

They are written to be read as they stand. Here stars and bars that reStructuredText would read as
markup are escaped, `$x$` becomes a formula, and the comments behind the fields of a NamedTuple or a
dataclass become a list below its docstring. Signatures have their types as the source names them,
`params: Params`, each a link to where it is explained.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

MOST_ARGUMENTS = 12  # of a class; one with more has only the list of its fields
PART = re.compile(r"(`+[^`]+`+)|\$([^$]+)\$", re.DOTALL)
MARKUP = re.compile(r"([*|]|_(?=\W|$)|\\)")


def restructure(text: str) -> str:
    """Prose with `code` and $formulas$ as reStructuredText."""
    done, position = [], 0
    for found in PART.finditer(text):
        done.append(MARKUP.sub(r"\\\1", text[position : found.start()]))
        code, formula = found.groups()
        if code:
            done.append(f"``{code.strip('`')}``")
        else:
            done.append(f":math:`{' '.join(formula.split())}`")
        position = found.end()
    return "".join([*done, MARKUP.sub(r"\\\1", text[position:])])


def convert(lines: list[str]) -> list[str]:
    """A docstring's lines, with examples and indented code as they are."""
    converted: list[str] = []
    prose: list[str] = []

    def end_prose() -> None:
        if prose:
            converted.extend(restructure("\n".join(prose)).split("\n"))
            prose.clear()

    in_example, code = False, 0  # code: its least indentation, 0 outside of it
    margin = 0  # indentation of the prose before
    for number, line in enumerate(lines):
        depth = len(line) - len(line.lstrip())
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if line.strip() and depth < code:
            code = 0
        if not code and number and not lines[number - 1].strip() and depth >= margin + 4:
            code = depth
            if not in_example:
                end_prose()
                converted += [f"{' ' * margin}::", ""]
        if in_example or code:
            end_prose()
            converted.append(line)
        else:
            margin = depth if line.strip() else margin
            prose.append(line)
    end_prose()
    return converted


def fields(cls: type) -> dict[str, tuple[str, str]]:
    """Each annotated field of a class: its type, and the comment behind or else directly above."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    lines = source.splitlines()
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node in tree.body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        last = (node.end_lineno or node.lineno) - 1
        comment = lines[last].partition("  # ")[2]
        above, first = [], node.lineno - 2
        while first >= 0 and lines[first].strip().startswith("# "):
            above.insert(0, lines[first].strip().removeprefix("# "))
            first -= 1
        found[node.target.id] = ast.unparse(node.annotation), comment or " ".join(above)
    return found


def shape(hint: Any) -> str:
    """The shape that a type alias of arrays has, in brackets; nothing for other types."""
    first = next(iter(typing.get_args(hint)), hint) if not hasattr(hint, "dim_str") else hint
    if (names := getattr(first, "dim_str", None)) is None:
        return ""
    return f"``[{', '.join(names.split())}]``" if names.strip() else "scalar"


def describe(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Rewrite one docstring in place, before napoleon reads its sections."""
    del app, name, options
    lines[:] = convert(lines)
    if what != "class" or not (hasattr(found, "_fields") or hasattr(found, "__dataclass_fields__")):
        return
    documented, hints = "\n".join(lines), typing.get_type_hints(found)
    rows = []
    for field, (hint, comment) in fields(found).items():
        kind = shape(hints.get(field)) or f"``{hint}``"
        parts = filter(None, (kind, restructure(comment)))
        if f"{field}:" not in documented and (text := ", ".join(parts)):
            rows.append(f"  {field}: {text}")
    if rows:
        lines += ["", "Attributes:", *rows, ""]


def annotations(function: Any) -> dict[str, str]:
    """The types of a function's arguments, and of its result under `return`, as in its source."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    arguments = [found for found in ast.walk(node.args) if isinstance(found, ast.arg)]
    known = {found.arg: found.annotation for found in arguments} | {"return": node.returns}
    for name in ast.walk(node):  # classes by the name that Sphinx links; it shows the last word
        if isinstance(name, ast.Name):
            cls = function.__globals__.get(name.id)
            if inspect.isclass(cls) and cls.__module__.startswith("bnjax."):
                name.id = f"{cls.__module__}.{cls.__qualname__}"
    texts = {name: ast.unparse(hint) for name, hint in known.items() if hint}
    return {name: text.replace("' ", "'") for name, text in texts.items()}


def sign(
    app: Sphinx, what: str, name: str, found: Any, options: Any, arguments: str, result: str
) -> tuple[str, str] | None:
    """The signature of a function, a method or a class."""
    del app, name, options, arguments, result
    if what not in ("function", "method", "class"):
        return None
    made = found.__init__ if what == "class" else inspect.unwrap(found)
    is_record = hasattr(found, "_fields") or dataclasses.is_dataclass(found)
    types = {} if is_record or not inspect.isfunction(made) else annotations(made)
    signature = inspect.signature(found)
    parameters = [
        parameter.replace(annotation=types.get(parameter.name, parameter.empty))
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    if what == "class" and len(parameters) > MOST_ARGUMENTS:
        return "", ""
    signature = signature.replace(parameters=parameters)
    text = stringify_signature(signature, show_return_annotation=False)
    return text, "" if what == "class" else types.get("return", "")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect before napoleon, which listens at the usual priority."""
    app.connect("autodoc-process-docstring", describe, priority=400)
    app.connect("autodoc-process-signature", sign)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
