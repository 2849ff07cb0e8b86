"""What a person types, from the command line to one line for each error."""

from bnjax.errors import needs

with needs("studies"):
    import rich  # noqa: F401
    import tyro  # noqa: F401
