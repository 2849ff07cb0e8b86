"""`python -m bnjax`, the same as the command `bnjax`."""

import sys

from bnjax.errors import MissingPackage, needs


def main(*words: str) -> int | str:
    """Run the process's command line behind some words.

    Its exit status; one line where packages of the command are missing, or a signal comes while it
    loads.
    """
    try:
        with needs("studies"):
            from bnjax.commands import program

            sys.argv[1:1] = words
            return program.main()
    except MissingPackage as error:
        return f"error: {error}"
    except KeyboardInterrupt:
        print("interrupted before anything began: give the same command again", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
