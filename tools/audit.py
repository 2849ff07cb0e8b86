"""Known vulnerabilities of every package in requirements-dev.lock, which has all that others have.

python tools/audit.py    # exit status 1 also where a package could not be looked up
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements-dev.lock"
AUDIT = ["pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
AUDIT += ["--format", "json", "--requirement", str(LOCK)]


def judge(found: str, complaint: str) -> tuple[str, int]:
    """The lines to print and the exit status, from what pip-audit wrote."""
    try:
        packages = json.loads(found)["dependencies"]
    except ValueError:
        last = (complaint.strip().splitlines() or ["it says nothing"])[-1]
        return f"error: the advisories cannot be read ({last[:200]}): try again with a network", 1
    skipped = [package for package in packages if "skip_reason" in package]
    if skipped or not packages:
        why = skipped[0]["skip_reason"] if skipped else "the lock is empty"
        return (
            f"error: no advisories for {len(skipped)} of {len(packages)} packages ({why}): ask a "
            "registry that has them"
        ), 1
    lines = [
        f"{package['name']} {package['version']}: {one['id']}, "
        f"fixed in {' '.join(one['fix_versions']) or 'no version'}"
        for package in packages
        for one in package["vulns"]
    ]
    return "\n".join(lines) or f"{len(packages)} packages, no known vulnerability", int(bool(lines))


def main() -> int:
    """Ask for all packages; the exit status."""
    call = [sys.executable, "-m", *AUDIT]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    lines, status = judge(done.stdout, done.stderr)
    print(lines, file=sys.stderr if lines.startswith("error: ") else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
