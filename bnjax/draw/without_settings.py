"""Imports matplotlib so that no `matplotlibrc` can stop it.

matplotlib reads one when it is imported, from the working folder, `$MATPLOTLIBRC` or the home. If
it is damaged, the import fails; if it is a pipe, the import never ends; both after hours of
training. So here the import sees matplotlib's own file alone. The user's settings are applied after
it as far as they serve. They are for the user's figures: those of bnjax have their own look.
"""

import contextlib
import os
import sys

exists = os.path.exists
OWN = os.path.join("mpl-data", "matplotlibrc")


def hides_settings(path: object) -> bool:
    """`os.path.exists`, for which only matplotlib's own settings are there."""
    if isinstance(path, str) and not path.endswith(OWN):
        named = path == os.environ.get("MATPLOTLIBRC")
        if named or os.path.basename(path) == "matplotlibrc":
            return False
    return exists(path)  # type: ignore[arg-type]


if "matplotlib" not in sys.modules:
    os.path.exists = hides_settings
    try:
        import matplotlib
    finally:
        os.path.exists = exists
    if os.path.isfile(found := matplotlib.matplotlib_fname()):
        with contextlib.suppress(Exception):  # whatever stands in it
            matplotlib.rc_file(found)
