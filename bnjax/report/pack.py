"""Numbers and files as text inside a page: packed small, unpacked by the reader's browser.

Of an SVG file only what draws is let in. Its colours become variables, which a dark page sets: one
drawing serves both pages.
"""

import base64
import functools
import gzip
import hashlib
import html
import importlib.util
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from bnjax.errors import MissingPackage, RunError
from bnjax.report import dark

LEVEL = 6  # of gzip: 9 takes a fifth longer and saves a quarter of a per cent


class Script(NamedTuple):
    """A program inside a page."""

    packed: str
    digest: str  # SHA-256 as a Content-Security-Policy has it


class Numbers:
    """Arrays one after the other in one block of bytes, each known by its place."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.places: list[tuple[int, int, int]] = []  # first byte, number of values, bytes of each
        self.size = 0

    def add(self, values: np.ndarray) -> int:
        """Add an array, flat, in 64 bits where 32 are too few; returns its place."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        finite = np.abs(flat[np.isfinite(flat)])
        wide = bool(finite.size) and float(finite.max()) > float(np.finfo(np.float32).max)
        content = flat.astype("<f8" if wide else "<f4").tobytes()
        width = 8 if wide else 4
        padding = -self.size % 8  # a view of 64 bits begins at a multiple of 8 bytes
        self.parts.append(bytes(padding) + content)
        self.places.append((self.size + padding, flat.size, width))
        self.size += padding + len(content)
        return len(self.places) - 1

    def content(self) -> bytes:
        return b"".join(self.parts)


def pack(content: bytes) -> str:
    """Bytes as base64 of their gzip; equal bytes give equal texts."""
    return base64.b64encode(gzip.compress(content, LEVEL, mtime=0)).decode()


def as_json(value: Any) -> str:
    """A JSON document for a script element of a page; all numbers must be finite."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def digest(text: str) -> str:
    """The hash by which a Content-Security-Policy admits a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@functools.cache
def plotly() -> Script:
    """The program that draws the charts, read from the package `plotly` without importing it."""
    spec = importlib.util.find_spec("plotly")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        path = Path(place) / "package_data" / "plotly.min.js"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            return Script(pack(text.encode()), digest(text))
    raise MissingPackage("plotly", "studies")


SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
DRAWS = re.compile(
    "svg|g|path|use|defs|clipPath|pattern|rect|circle|ellipse|line|polyline|polygon|text|tspan|"
    "image|linearGradient|stop"
)
# Attributes with numbers, lengths, colours and lists of them.
PLAIN = re.compile(
    "d|[xy][12]?|c[xy]|r[xy]?|width|height|points|viewBox|transform|opacity|offset|"
    "(fill|stroke)(-opacity)?|stroke-(width|linejoin|linecap|dasharray|dashoffset|miterlimit)|"
    "(clip|fill)-rule|pattern(Units|Transform)|clipPathUnits|preserveAspectRatio|text-anchor|"
    "font-(family|size|style|weight)|stop-(color|opacity)"
)
VALUE = re.compile(r"[\w\s#%.,:;()\-+]*", re.ASCII)
OWN = re.compile(r"url\(#([\w.\-]+)\)", re.ASCII)
NAME = re.compile(r"[\w.\-]+", re.ASCII)
PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=\s]*")
DEEPEST = 100
AS_PRINTED = "printed"  # identifiers of what lies on a map of colours begin with it
COLOUR = re.compile(r"(fill|stroke): (#[0-9a-f]{6})\b")
VARIABLE = re.compile(r"var\(--x([0-9a-f]{6}),")
VIEW = re.compile(r"[-\d.eE]+([ ,]+[-\d.eE]+){3}")


def view(content: bytes) -> str:
    found = re.search(rb'viewBox="([^"]*)"', content)
    return found[1].decode("ascii") if found and VIEW.fullmatch(found[1].decode("ascii")) else ""


def inline(content: bytes, prefix: str, title: str, name: str) -> str:
    """An SVG document as an element of an HTML page.

    Elements and attributes that do not draw, scripts, styles for the whole page, links and whatever
    would be fetched are left out; identifiers get a prefix, so that two figures do not share them.
    Colours become variables `--x<rrggbb>`, which stand for themselves until `inks` sets them.
    """
    try:
        refuse_entities(content)
        root = ElementTree.fromstring(content)
        if root.tag != f"{SVG}svg" or not VIEW.fullmatch(root.get("viewBox", "")):
            raise ValueError("it is no SVG with a viewBox")
        inner = "".join(part for child in root for part in render(child, prefix, 0))
    except (ElementTree.ParseError, expat.ExpatError, ValueError, LookupError) as error:
        raise RunError(f"{name} cannot be shown ({error}): draw it again") from error
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{html.escape(root.get("viewBox", ""))}"'
        f' role="img" aria-label="{html.escape(title)}" stroke-linejoin="round"'
        ' stroke-linecap="butt">'
    )
    return f'{head}<g id="{prefix}drawing">{inner}</g></svg>'


def refuse_entities(content: bytes) -> None:
    """Refuse entities, in whatever encoding they are declared: a few could make a huge document."""

    def refuse(*_: Any) -> None:
        raise ValueError("it declares entities")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    parser.Parse(content, True)


def render(
    element: ElementTree.Element, prefix: str, depth: int, *, printed: bool = False
) -> Iterator[str]:
    """An element and what it contains; what is `printed` keeps its colours on a dark page."""
    if depth > DEEPEST:
        raise ValueError("it is nested too deeply")
    if not isinstance(element.tag, str) or not element.tag.startswith(SVG):
        return
    tag = element.tag.removeprefix(SVG)
    if not DRAWS.fullmatch(tag):
        return
    kept = dict(attributes(element.attrib, prefix))
    if element.get("id", "").startswith(AS_PRINTED):
        printed, kept["style"] = True, "fill: #000000"
    elif "style" in kept and not printed:
        kept["style"] = with_variables(kept["style"], every=tag == "use")
    if tag == "image" and is_grey(kept.get("href", "")):
        kept["class"] = "grey"
    given = "".join(f' {key}="{html.escape(value)}"' for key, value in kept.items())
    yield f"<{tag}{given}>"
    if tag in ("text", "tspan") and element.text:
        yield html.escape(element.text)
    for child in element:
        yield from render(child, prefix, depth + 1, printed=printed)
        if tag in ("text", "tspan") and child.tail:
            yield html.escape(child.tail)
    yield f"</{tag}>"


def attributes(given: Mapping[str, str], prefix: str) -> Iterator[tuple[str, str]]:
    """The attributes that draw, their references under the prefix."""
    for key, value in given.items():
        if key == "id" and NAME.fullmatch(value):
            yield key, f"{prefix}{value}"
        elif key in ("href", f"{XLINK}href"):
            if value.startswith("#") and NAME.fullmatch(value[1:]):
                yield "href", f"#{prefix}{value[1:]}"
            elif PICTURE.fullmatch(value):
                yield "href", value
        elif key in ("style", "clip-path") or PLAIN.fullmatch(key):
            own = OWN.sub("", value)
            if VALUE.fullmatch(own) and "url" not in own.lower():
                yield key, OWN.sub(rf"url(#{prefix}\1)", value)


def with_variables(style: str, *, every: bool) -> str:
    """A style whose colours are variables; of areas those of arms and greys, unless `every`.

    The colours of a map or of contours mean numbers, and stay those of its bar.

    Example:
      >>> with_variables("fill: #0072b2; opacity: 0.2", every=False)
      'fill: var(--x0072b2,#0072b2); opacity: 0.2'
      >>> with_variables("fill: #440154", every=False)
      'fill: #440154'
    """

    def variable(found: re.Match[str]) -> str:
        key, colour = found.groups()
        known = colour.upper() in dark.ON_DARK or dark.is_grey(colour)
        changes = every or known or key == "stroke"
        return f"{key}: var(--x{colour[1:]},{colour})" if changes else found[0]

    return COLOUR.sub(variable, style)


def inks(drawings: Iterable[str]) -> str:
    """What a dark page sets the variables of some drawings to."""
    used = {found for drawing in drawings for found in VARIABLE.findall(drawing)} | {"000000"}
    return " ".join(f"--x{colour}: {dark.ink(f'#{colour}')};" for colour in sorted(used))


def is_grey(picture: str) -> bool:
    """Whether a picture of a drawing, as data of its address, has no hue: its paper is white."""
    from PIL import Image, UnidentifiedImageError

    content = base64.b64decode(picture.partition(",")[2])
    try:
        with Image.open(io.BytesIO(content)) as image:
            red, *others = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return False  # no browser shows it either
    return all(np.array_equal(red, other) for other in others)
