"""What is installed is what is in the tree."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import bnjax

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "bnjax" / "report" / "templates"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_said_once():
    assert PROJECT["project"]["version"] == bnjax.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {bnjax.__version__}" in changelog
    assert f"version: {bnjax.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_a_wheel_has_the_studies_the_templates_the_command_and_its_types(tmp_path):
    tree = tmp_path / "tree"
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "bnjax", tree / "bnjax", ignore=leave)
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"bnjax-{bnjax.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"bnjax/report/templates/{path.name}" for path in TEMPLATES.iterdir()}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "bnjax").rglob("*.py")}
    assert wanted | {"bnjax/py.typed"} <= names
    entry_points = zipfile.ZipFile(wheel).read(
        f"bnjax-{bnjax.__version__}.dist-info/entry_points.txt"
    )
    assert b"bnjax = bnjax.commands.program:main" in entry_points
