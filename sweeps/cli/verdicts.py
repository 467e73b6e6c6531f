"""How a comparison stands on the terminal: the table of settings, and what it means."""

from __future__ import annotations

from paribus.sweeps.cli.common import say, table
from paribus.sweeps.verdicts.words import Comparison, in_order, meaning, table_cells

_STYLES = {"better": "green", "worse": "red", "equivalent": "blue", "identical": "dim"}


def tell(comparison: Comparison) -> None:
    """The table of settings, and what its verdicts rest on."""
    settings_table(comparison)
    for line in meaning(comparison):
        say(line)


def settings_table(comparison: Comparison) -> None:
    """One row per setting: mean ± deviation, difference, interval and verdict."""
    columns, rows = table_cells(comparison)
    ordered = in_order(comparison)
    styles = [_STYLES.get(setting["verdict"] or "", "") for setting in ordered]
    right = [columns.index(name) for name in columns[1:] if name not in ("verdict", "here")]
    table(columns, rows, right=right[:-1], styles=styles)
