"""What a panel is called in a table: by its title and axis, or those of its row and column."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def panel_names(drawn: Figure) -> list[str]:
    """A name for each panel: its title and axis, else those of the head of its column and row."""
    return [
        " | ".join(dict.fromkeys(filter(None, (own_title(panel), own_label(panel))))) or f"{i + 1}"
        for i, panel in enumerate(drawn.axes)
    ]


def own_title(panel: Axes) -> str:
    """The panel's title, or that of the first one above that has one."""
    above = [other for other in siblings(panel, "colspan") if row(other) <= row(panel)]
    titles = [title(other) for other in sorted(above, key=row, reverse=True)]
    return next(filter(None, (title(panel), *titles)), "")


def own_label(panel: Axes) -> str:
    """The label of the panel's y axis, or of the nearest one to its left that has one."""
    if title(panel) and panel.get_ylabel():
        return one_line(panel.get_ylabel())
    left = [other for other in siblings(panel, "rowspan") if column(other) <= column(panel)]
    labels = [one_line(other.get_ylabel()) for other in sorted(left, key=column, reverse=True)]
    return next(filter(None, (one_line(panel.get_ylabel()), *labels)), "")


def siblings(panel: Axes, span: str) -> list[Axes]:
    """The panels of the same row or column of the grid, itself included."""
    own = panel.get_subplotspec()
    if own is None:
        return [panel]
    return [
        other
        for other in panel.figure.axes
        if (spec := other.get_subplotspec()) is not None
        and getattr(spec, span) == getattr(own, span)
    ]


def row(panel: Axes) -> int:
    """Its row in the grid."""
    spec = panel.get_subplotspec()
    return 0 if spec is None else spec.rowspan.start


def column(panel: Axes) -> int:
    """Its column in the grid."""
    spec = panel.get_subplotspec()
    return 0 if spec is None else spec.colspan.start


def title(panel: Axes) -> str:
    """Its title, wherever it stands."""
    titles = (panel.get_title("left"), panel.get_title("center"), panel.get_title("right"))
    return one_line(next(filter(None, titles), ""))


def one_line(text: str) -> str:
    """A text without line breaks and double blanks."""
    return " ".join(text.split())
