"""The README's example runs as it stands, in JAX's default mode, in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.full
def test_the_library_example_runs_as_printed():
    (example,) = re.findall(r"```python\n(import.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    numbers = [float(word) for word in re.findall(r"\d+\.\d+(?:e-?\d+)?", done.stdout)]
    assert len(numbers) == 16


def test_every_file_and_script_that_the_readme_names_exists():
    root = Path(__file__).parents[1]
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    scripts = re.findall(r"python (experiments/\w+\.py)", README)
    assert scripts
    for name in {*links, *scripts}:
        assert (root / name.split("#")[0]).exists(), name
