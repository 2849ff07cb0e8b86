"""Colours of charts and figures on a dark page."""

import re

DARK_PAGE = "#1D2024"  # `--paper` of the page
# On a dark page each colour has a contrast of at least 3. Deuteranopes see any two of them apart,
# most clearly where both have the same dashes. Hues are those of the figures.
ON_DARK = {
    "#D55E00": "#D55E00", "#0072B2": "#1C83D2", "#009E73": "#0FC7BB", "#CC79A7": "#FDA6C9",
    "#E69F00": "#E69F00", "#56B4E9": "#4BC0F6", "#000000": "#FFFFFF", "#332288": "#9F8BFF",
    "#117733": "#64CF80", "#5A98A7": "#9FDCF7", "#882255": "#DA4791", "#2A9682": "#6CB599",
    "#9A9473": "#DDCC77", "#E06D68": "#C4647B", "#999933": "#999933", "#AA4499": "#D16BBC",
    "#661100": "#C66D50", "#5891C8": "#6699CC", "#182E17": "#29F326", "#8E201A": "#DCB5A5",
    "#290700": "#F3F36D",
}  # fmt: skip
NEUTRAL_ON_DARK = "#9AA0A8"  # a series of no arm
CONTRAST = 3.0


def on_dark(colour: str) -> str:
    return ON_DARK.get(colour, NEUTRAL_ON_DARK)


def is_grey(colour: str) -> bool:
    """Whether a colour `#rrggbb` has no hue.

    Example:
      >>> is_grey("#b0b0b0"), is_grey("#0072b2")
      (True, False)
    """
    return colour[1:3] == colour[3:5] == colour[5:7]


def ink(colour: str) -> str:
    """A colour `#rrggbb` of a figure, on a dark page.

    Arms keep their hue. White paper becomes the page, black becomes white, greys what lies as far
    between. Other colours are lightened until their contrast with the page is 3.

    Example:
      >>> ink("#ffffff"), ink("#0072b2"), ink("#440154")
      ('#1D2024', '#1C83D2', '#855A90')
    """
    colour = colour.upper()
    if colour in ON_DARK:
        return ON_DARK[colour]
    if is_grey(colour):
        return mixed(DARK_PAGE, "#FFFFFF", 1 - parts(colour)[0])
    shares = (share / 20 for share in range(21))
    lighter = (mixed(colour, "#FFFFFF", share) for share in shares)
    return next(one for one in lighter if contrast(one, DARK_PAGE) >= CONTRAST)


def parts(colour: str) -> list[float]:
    """Red, green and blue from 0 to 1."""
    return [int(part, 16) / 255 for part in re.findall("..", colour[1:])]


def mixed(first: str, second: str, share: float) -> str:
    pairs = zip(parts(first), parts(second), strict=True)
    return "#" + "".join(f"{round(255 * (a + share * (b - a))):02X}" for a, b in pairs)


def contrast(first: str, second: str) -> float:
    """The ratio of two colours' luminances, as WCAG 2 has it: from 1 to 21."""

    def luminance(colour: str) -> float:
        linear = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in parts(colour)
        )
        return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)
