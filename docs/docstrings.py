"""Docstrings of bnjax as Sphinx wants them: Markdown's `code` and $formulas$, fields with comments.

They are written to be read as they stand. Here stars and bars that reStructuredText would read as
markup are escaped, `$x$` becomes a formula, and the comments behind the fields of a NamedTuple or a
dataclass become a list below its docstring.
"""

import ast
import inspect
import re
import textwrap
import typing
from typing import Any

from sphinx.application import Sphinx

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


def field_comments(cls: type) -> dict[str, str]:
    """The comment behind, or else directly above, each annotated field of a class."""
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
        found[node.target.id] = comment or " ".join(above)
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
    for field, comment in field_comments(found).items():
        parts = filter(None, (shape(hints.get(field)), restructure(comment)))
        if f"{field}:" not in documented and (text := ", ".join(parts)):
            rows.append(f"  {field}: {text}")
    if rows:
        lines += ["", "Attributes:", *rows, ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect before napoleon, which listens at the usual priority."""
    app.connect("autodoc-process-docstring", describe, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
