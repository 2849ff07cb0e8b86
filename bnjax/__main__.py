"""`python -m bnjax`, the same as the command `bnjax`."""

import sys

from bnjax.errors import MissingPackage


def main() -> int | str:
    """Run the command; its exit status, or one line where packages of the command are missing."""
    try:
        from bnjax.commands.program import main as run
    except MissingPackage as error:
        return f"error: {error}"
    return run()


if __name__ == "__main__":
    sys.exit(main())
