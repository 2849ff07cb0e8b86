"""Colours of curves on a dark page: a palette of their own, beside that of the figures.

Each has a contrast of at least 3 with the page. For those who see no green (deuteranopes) any two
differ clearly, more so where both have the same dashes. The hues are those of the figures.
"""

DARK_PAGE = "#1D2024"  # `--paper` of the page
ON_DARK = {
    "#D55E00": "#D55E00",
    "#0072B2": "#1C83D2",
    "#009E73": "#0FC7BB",
    "#CC79A7": "#FDA6C9",
    "#E69F00": "#E69F00",
    "#56B4E9": "#4BC0F6",
    "#000000": "#FFFFFF",
    "#332288": "#9F8BFF",
    "#117733": "#64CF80",
    "#5A98A7": "#9FDCF7",
    "#882255": "#DA4791",
    "#2A9682": "#6CB599",
    "#9A9473": "#DDCC77",
    "#E06D68": "#C4647B",
    "#999933": "#999933",
    "#AA4499": "#D16BBC",
    "#661100": "#C66D50",
    "#5891C8": "#6699CC",
}
NEUTRAL = "#9AA0A8"  # of a series of no arm


def on_dark(colour: str) -> str:
    """The colour of the same arm on a dark page."""
    return ON_DARK.get(colour, NEUTRAL)
