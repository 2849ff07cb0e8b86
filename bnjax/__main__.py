"""`python -m bnjax`, the same as the command `bnjax`."""

import sys

from bnjax.errors import MissingPackage


def main() -> int:
    """Run the command; its exit status. In an installation without studies, say so in one line."""
    try:
        from bnjax.commands.program import main as run
    except MissingPackage as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
