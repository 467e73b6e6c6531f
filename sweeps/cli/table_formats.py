"""The table of a comparison as Markdown, LaTeX or CSV."""

import csv
import io
import re

from paribus.sweeps.analysis.compare import Comparison
from paribus.sweeps.analysis.verdict_text import in_order, paper_table, where
from paribus.sweeps.formatting import number

_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
}


_COLUMNS = (
    "setting", "seeds", "mean", "sd", "difference", "low", "high", "p", "p_holm", "threshold",
    "verdict", "grade", "question", "confidence", "look", "pairs", "unpaired_worth",
    "this_part_low", "this_part_high", "this_part_p", "this_part_p_holm", "this_part_verdict",
)  # fmt: skip


def as_csv(comparison: Comparison) -> str:
    """Return every number of every setting, unrounded; empty where there is none."""
    file = io.StringIO()
    lines = csv.DictWriter(file, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    lines.writeheader()
    for setting in in_order(comparison):
        part = setting.this_part.model_dump() if setting.this_part else {}
        ends, part_ends = setting.interval or (None, None), part.get("interval", (None, None))
        lines.writerow({
            **setting.model_dump(), "setting": setting.label, "seeds": len(setting.seeds),
            "sd": setting.std, "difference": setting.delta, "low": ends[0], "high": ends[1],
            **{f"this_part_{name}": part.get(name) for name in ("p", "p_holm", "verdict")},
            "this_part_low": part_ends[0], "this_part_high": part_ends[1],
        })  # fmt: skip
    return file.getvalue().rstrip("\n")


def as_markdown(comparison: Comparison) -> str:
    """Return a table as GitHub and most editors read it, and what it rests on."""
    columns, *rows = paper_table(comparison)
    marks = [":--", *["--:"] * (len(columns) - 2), ":--"]
    cells = [columns, marks, *[[_markdown(cell) for cell in row] for row in rows]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([*lines, "", _caption(comparison)])


def as_latex(comparison: Comparison) -> str:
    """Return a table for the package booktabs, and what it rests on as its caption."""
    from pandas import DataFrame

    columns, *rows = [[_latex(cell) for cell in row] for row in paper_table(comparison)]
    table = (
        DataFrame(rows, columns=columns)
        .style.hide(axis="index")
        .to_latex(
            column_format=f"l{'r' * (len(columns) - 2)}l",
            hrules=True,
            caption=_latex(_caption(comparison)),
        )
    )
    return str(table).rstrip()


FORMATS = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}


def _caption(comparison: Comparison) -> str:
    """Return which question the table answers, and by which procedure."""
    tests, looks = comparison.tests, ", ".join(map(str, comparison.looks))
    settings = "one setting" if tests == 1 else f"{tests} settings"
    added = f"seeds added until decided, 5 % spent over looks after {looks}; " if looks else ""
    how = f"of {settings}, by the two-stage procedure of Benjamini, Krieger and Yekutieli"
    if comparison.strict:
        how = f"p adjusted for {settings} by Holm's procedure"
    return (
        f"Differences to the baseline, paired by seed, {where(comparison)}; {added}{how}; "
        f"equivalent: within {number(comparison.margin)} by two one-sided tests (90 % interval)."
    )


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
