"""Figures drawn from tables: a `Drawing` has panels, and a panel keeps the rows that it drew.

drawing = draw.Drawing("sharpness", title="Sharpness along the gradient")
(panel,) = drawing.panels
draw.curves(panel, run, run["sharpness_along_gradient"])
panel.reference(2 / run.options["lr"], "2/lr")
panel.set(xlabel=draw.STEP, ylabel="gᵀHg/‖g‖²")
panel.legend()
drawing.save(folder)  # sharpness.png, .pdf, .svg, .csv
"""

from bnjax.errors import needs

with needs("plot"):
    import bnjax.draw.without_settings  # noqa: F401  # before anything imports matplotlib
    from bnjax.draw.arms import (
        bands,
        curves,
        loss_label,
        mark_ends,
        network,
        optimizer,
        progress,
        running_medians,
        setting,
        spread,
        subject,
        training,
        unit,
        untrained,
    )
    from bnjax.draw.drawing import (
        COLUMNS,
        LOOKS,
        PUBLISHED,
        PUBLISHED_NOTE,
        STEP,
        Drawing,
        Look,
        Panel,
        Series,
        Table,
        plain_log_ticks,
        quiet,
        shades,
        shared_levels,
        styled,
    )

__all__ = [
    "COLUMNS", "LOOKS", "PUBLISHED", "PUBLISHED_NOTE", "STEP", "Drawing", "Look", "Panel",
    "Series", "Table", "bands", "curves", "loss_label", "mark_ends", "network", "optimizer",
    "plain_log_ticks", "progress", "quiet", "running_medians", "setting", "shades", "shared_levels",
    "spread", "styled", "subject", "training", "unit", "untrained",
]  # fmt: skip
