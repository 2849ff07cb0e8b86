"""The settings of Flax."""

import flax


def flax_settings() -> dict[str, object]:
    """Their values now, by name; `FLAX_…` in the environment and `flax.config` set them."""
    kind = type(flax.config)
    return {
        name: getattr(flax.config, name)
        for name, value in vars(kind).items()
        if isinstance(value, property)
    }
