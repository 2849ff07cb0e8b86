"""Tables of what long runs of tests found: Markdown, a row for each part, renewed alone."""

import datetime
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bnjax.frame import fingerprint

ROOT = Path(__file__).parents[1]
TABLES = ("tests/RESULTS.md", "tests/VERSIONS.md")


def renew(path: Path, head: str, names: Sequence[str], name: str, row: str) -> None:
    """Put the row of `name` into a table, in place of its last one; names give the order."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    rows[name] = row
    path.write_text(head + "".join(f"{rows[known]}\n" for known in names if known in rows))


def today() -> datetime.date:
    """The date, in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def commit() -> str:
    """The commit of this tree, with a + where files differ from it."""
    name = git("rev-parse", "--short", "HEAD").stdout.strip()
    unchanged = (f":!{table}" for table in TABLES)
    changed = git("diff", "--quiet", "HEAD", "--", ".", *unchanged).returncode
    return f"commit {name}{'+' if changed else ''}"


def hardware() -> str:
    """Processors, memory and system, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = f"{os.cpu_count()} × {fingerprint.processor()}"
    release = platform.release().partition("-")[0]
    return f"{processor}, {memory:.0f} GiB, {platform.system()} {release}"


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What git says of this tree."""
    return subprocess.run(
        ["git", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
