"""A file imports only from floors below its own; read from the files, nothing is imported."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    {"types", "errors", "choices"},
    {"arithmetic", "data"},
    {"fields"},
    {"convolution"},
    {"models", "probes"},
    {"losses", "recorder"},
    {"train"},
    {"frame"},
    {"judge"},
    {"draw"},
    {"report"},
    {"commands"},
    {"studies"},
    {"__main__"},
    {"experiments"},
)
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}
FILES = sorted([*(ROOT / "bnjax").rglob("*.py"), *(ROOT / "experiments").glob("*.py")])
PUBLIC_NAMES = ROOT / "bnjax" / "__init__.py"  # imports from every floor
# A library or call that only some floors may touch.
ONLY = {
    "flax": {"models"},
    "matplotlib": {"draw", "studies"},
    "tensorflow_datasets": {"data"},
    "sklearn": {"data"},
    "tyro": {"frame", "commands", "studies"},
    "rich": {"frame", "commands"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "plotly": {"report"},
}
MAY_PRINT_AND_OPEN = {
    "__main__",
    "frame",
    "judge",
    "draw",
    "report",
    "commands",
    "studies",
    "experiments",
}


def home(path: Path) -> str:
    """The floor's name of a file: the package or module under `bnjax`, or `experiments`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "experiments" else parts[1]


def relative(path: Path) -> str:
    """Its name in the project."""
    return str(path.relative_to(ROOT))


def imported(tree: ast.AST) -> set[str]:
    """Dotted names of everything a file imports, at whatever depth of nesting."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", [path for path in FILES if path != PUBLIC_NAMES], ids=relative)
def test_imports_come_from_floors_below(path):
    own = home(path)
    assert own in FLOOR, f"{path} stands on no floor: add it to FLOORS"
    tree = ast.parse(path.read_text())
    for name in imported(tree):
        package, *rest = name.split(".")
        if package == "bnjax":
            assert rest, f"{path} imports the whole of bnjax"
            target = "models" if rest[0] == "norms" else rest[0]
            assert target == own or FLOOR[target] < FLOOR[own], f"{path} imports {name}"
        assert own in ONLY.get(package, {own}), f"{path} imports {package}"
        assert package != "experiments", f"{path} imports another experiment"


@pytest.mark.parametrize(
    "path", [path for path in FILES if home(path) not in MAY_PRINT_AND_OPEN], ids=relative
)
def test_lower_floors_neither_print_nor_open_files(path):
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"print", "open"}


# What the parts of a study may not know: measuring neither judges nor draws, and what judges or
# draws reads results only, and asks a normaliser what it is. Its `__init__` is imported for
# `--help`, and loads no JAX.
FORBIDDEN = {
    "__init__": ("bnjax.judge", "bnjax.draw", "bnjax.train", "bnjax.models", "bnjax.probes", "jax"),
    "measure": ("bnjax.judge", "bnjax.draw", "matplotlib"),
    "claims": ("bnjax.draw", "bnjax.train", "bnjax.frame.arm", "matplotlib"),
    "figure": ("bnjax.train", "bnjax.frame.arm", "bnjax.frame.job"),
}
STUDIES = sorted(path.parent for path in (ROOT / "bnjax" / "studies").glob("*/__init__.py"))
PARTS = [path for place in STUDIES for path in sorted(place.glob("*.py")) if path.stem in FORBIDDEN]


@pytest.mark.parametrize("path", PARTS, ids=relative)
def test_a_part_of_a_study_knows_what_it_may(path):
    for name in imported(ast.parse(path.read_text())):
        for forbidden in FORBIDDEN[path.stem]:
            assert not f"{name}.".startswith(f"{forbidden}."), f"{path} imports {name}"
        parts = name.split(".")
        if parts[:2] == ["bnjax", "studies"] and parts[2] != path.parent.name:
            assert not any(part.startswith("_") for part in parts), f"{path} imports {name}"


# Names of studies that also are a probe, an option, a chart or a series of published curves.
OTHER_THINGS = {"shift", "spectrum", "surface", "theory", "earth_mover", "batch_size"}
OTHER_THINGS |= {"noisy_batchnorm"}


@pytest.mark.parametrize("place", STUDIES, ids=lambda place: place.name)
def test_no_file_outside_its_folder_names_a_study(place):
    """Imports and string literals; other studies may import its public parts."""
    for path in (ROOT / "bnjax").rglob("*.py"):
        if place in path.parents:
            continue
        tree = ast.parse(path.read_text())
        if "studies" not in path.relative_to(ROOT).parts:
            assert not [n for n in imported(tree) if n.startswith(f"bnjax.studies.{place.name}")]
        if place.name not in OTHER_THINGS:
            texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            assert place.name not in texts, f"{path} names {place.name}"


def test_nobody_touches_the_state_of_pyplot():
    """It is one for all, and belongs to whoever has a notebook open."""
    for path in FILES:
        assert not [n for n in imported(ast.parse(path.read_text())) if "pyplot" in n], path


def test_every_floor_exists():
    assert {home(path) for path in FILES} - {"__init__"} == set(FLOOR)
