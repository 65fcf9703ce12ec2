"""plot — draws how close each figure is to its aim, as an SVG."""

__all__ = ["draw"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from benchmarks.results import Aim, Figure, Result

MET, MISSED = "#2b8a5b", "#c4592f"
MAX_SHARE = 2.0  # longer bars are cut off; their label has the number
ROW_INCHES = 0.28


def draw(results: Sequence[Result], path: Path) -> None:
    """Draws one bar for each figure with an aim; 1 is the aim, and longer is always better."""
    rows = [
        (f"{result.name}: {figure.name}", figure, figure.aim)
        for result in results
        for figure in result.figures
        if figure.aim is not None
    ]
    mpl.rcParams["svg.hashsalt"] = "mailroom"  # the same figures produce the same file
    figure, axes = cast("Any", plt).subplots(figsize=(10, 1.2 + ROW_INCHES * len(rows)))
    shares = [aim.share(measured.value) for _, measured, aim in rows]
    axes.barh(
        [name for name, _, _ in rows],
        [min(share, MAX_SHARE) for share in shares],
        color=[MET if share >= 1 else MISSED for share in shares],
    )
    for row, (_, measured, aim) in enumerate(rows):
        axes.text(
            min(shares[row], MAX_SHARE) + 0.03,
            row,
            _label(measured, aim),
            va="center",
            fontsize=8,
            backgroundcolor="white",
        )
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlim(0, MAX_SHARE + 0.8)
    axes.set_xlabel("share of the aim (1 = met; longer is better)")
    axes.invert_yaxis()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _label(figure: Figure, aim: Aim) -> str:
    return f"{figure.value:,.2f} {figure.unit} ({aim})"
