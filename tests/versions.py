"""Run all tests under other Pythons and other versions of what bnjax needs, and keep the table.

python tests/versions.py                 # all of them, each about half an hour on two cores
python tests/versions.py 3.11-oldest     # this one; the other rows stay as they are

`oldest` installs the lower bounds of requirements.txt and pyproject.toml, `newest` what is newest
today, whatever the lock says; each into an environment of its own in `.versions/`, by uv.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

import record

TABLE = record.ROOT / "tests" / "VERSIONS.md"
RESOLUTIONS = {"oldest": "lowest-direct", "newest": "highest"}
SETS = ("3.11-oldest", "3.11-newest", "3.12-newest", "3.13-newest")
SHOWN = ("jax", "flax", "optax", "numpy", "scipy", "matplotlib")
HEAD = """# The tests under other versions

Written by `make test-versions`. `oldest` has the lower bounds of `requirements.txt` and
`pyproject.toml`, `newest` what was newest on that day; `make test` has the versions of the lock.
Skipped is what needs torch or prepared data sets; before 676036b also, for 154 modules, a rule that
does not concern them.

| versions | passed | skipped | failed | minutes | date | among them | on |
|---|---|---|---|---|---|---|---|
"""


def install(name: str) -> Path:
    """A new environment with this set of versions; its Python."""
    version, resolution = name.split("-")
    find = ["sh", "tools/find_python.sh", version]
    found = subprocess.run(find, cwd=record.ROOT, check=True, capture_output=True, text=True)
    place = record.ROOT / ".versions" / name
    uv("venv", "--quiet", "--clear", "--python", found.stdout.strip(), str(place))
    python = place / "bin" / "python"
    wanted = ["--resolution", RESOLUTIONS[resolution], "--editable", ".[dev]"]
    uv("pip", "install", "--quiet", "--python", str(python), *wanted)
    return python


def uv(*arguments: str) -> str:
    """What uv prints."""
    call = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(call, cwd=record.ROOT, check=True, stdout=-1, text=True).stdout


def run(name: str) -> tuple[str, bool]:
    """Install a set and run the tests with it; its row, and whether all passed."""
    python = install(name)
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", str(python)))
    versions = {package["name"]: package["version"] for package in listed}
    among = ", ".join(f"{package} {versions[package]}" for package in SHOWN)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        # What other versions warn of among each other is shown, not an error.
        options = ["-q", "-n", "2", "--dist", "worksteal", "-W", "default", f"--junitxml={report}"]
        tiers = ["-o", "norecursedirs=.*", "-m", "", "tests", "bnjax"]  # the second one, too
        call = [python, "-m", "pytest", *options, *tiers]
        subprocess.run(call, cwd=record.ROOT, check=False)
        counts = count(report)
    minutes = (time.monotonic() - begun) / 60
    cells = (name, *counts, f"{minutes:.0f}", record.today(), among)
    row = f"| {' | '.join(map(str, cells))} | {record.hardware()}, {record.commit()} |"
    return row, counts[0] > 0 and counts[2] == 0


def count(report: Path) -> tuple[int, int, int]:
    """Tests that passed, were skipped, and failed, of pytest's own report."""
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    number = {key: int(suite.attrib[key]) for key in ("tests", "skipped", "errors", "failures")}
    failed = number["errors"] + number["failures"]
    return number["tests"] - number["skipped"] - failed, number["skipped"], failed


def main(names: list[str]) -> int:
    """Run the tests with these sets, or with all; the exit status."""
    if unknown := [name for name in names if name not in SETS]:
        print(f"error: {' '.join(unknown)}: must be of {' '.join(SETS)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or SETS:
        row, held = run(name)
        record.renew(TABLE, HEAD, SETS, name, row)
        print(row, flush=True)
        failed += [] if held else [name]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
