"""The table of a comparison as Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from paribus.sweeps.analysis.verdict_text import Comparison, in_order, interval_text, where
from paribus.sweeps.formatting import number, signed

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


def _end(interval: Sequence[float] | None, which: int) -> float | None:
    return None if interval is None else interval[which]


def _of_part(setting: Mapping[str, Any], name: str) -> Any:
    part = setting["this_part"]
    if part is None:
        return None
    return part["interval"][name == "high"] if name in ("low", "high") else part[name]


_COLUMNS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "setting": lambda s: s["label"],
    "seeds": lambda s: len(s["seeds"]),
    "mean": lambda s: s["mean"],
    "sd": lambda s: s["std"],
    "difference": lambda s: s["delta"],
    "low": lambda s: _end(s["interval"], 0),
    "high": lambda s: _end(s["interval"], 1),
    "p": lambda s: s["p"],
    "p_holm": lambda s: s["p_holm"],
    "verdict": lambda s: s["verdict"],
    "question": lambda s: s["question"],
    "confidence": lambda s: s["confidence"],
    "look": lambda s: s["look"],
    "pairs": lambda s: s["pairs"],
    "correlation": lambda s: s["correlation"],
    "unpaired_worth": lambda s: s["unpaired_worth"],
    **{
        f"this_part_{name}": partial(_of_part, name=name)
        for name in ("low", "high", "p", "p_holm", "verdict")
    },
}


def as_csv(comparison: Comparison) -> str:
    """Every number of every setting, unrounded; empty where there is none."""
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(_COLUMNS)
    for setting in in_order(comparison):
        lines.writerow([value(setting) for value in _COLUMNS.values()])
    return file.getvalue().rstrip("\n")


def as_markdown(comparison: Comparison) -> str:
    """A table as GitHub and most editors read it, and what it rests on."""
    columns, rows = _paper(comparison)
    cells = [columns, [":--", *["--:"] * (len(columns) - 2), ":--"], *_escaped(rows, _markdown)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([*lines, "", _caption(comparison)])


def as_latex(comparison: Comparison) -> str:
    """A table for the package booktabs, and what it rests on as its caption."""
    columns, rows = _paper(comparison)
    head, *body = [" & ".join(row) + r" \\" for row in _escaped([columns, *rows], _latex)]
    return "\n".join([
        r"\begin{table}",
        rf"\caption{{{_latex(_caption(comparison))}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 2)}l}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ])  # fmt: skip


FORMATS = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}


def _paper(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    metric = comparison["metric"]["name"]
    interval = "interval" if comparison["looks"] else "95 % interval"
    columns = ["setting", "seeds", f"{metric}, mean ± sd", "difference", interval]
    rows = []
    for s in in_order(comparison):
        spread = "" if s["std"] is None else f" ± {number(s['std'])}"
        p = "–" if s["p_holm"] is None else f"{s['p_holm']:.2g}"
        rows.append([
            s["label"],
            str(len(s["seeds"])),
            f"{number(s['mean'])}{spread}",
            signed(s["delta"]),
            interval_text(s["interval"]),
            p,
            s["verdict"] or "–",
        ])  # fmt: skip
    return [*columns, "p (Holm)", "verdict"], rows


def _caption(comparison: Comparison) -> str:
    """Which question, by which procedure: what a reader of the table needs."""
    tests = comparison["tests"]
    settings = "one setting" if tests == 1 else f"{tests} settings"
    return (
        f"Differences to the baseline, paired by seed, {where(comparison)}; "
        f"{_intervals(comparison)} of each setting, p held to {settings} by Holm's procedure; "
        f"equivalent: within {number(comparison['margin'])} by two one-sided tests."
    )


def _intervals(comparison: Comparison) -> str:
    if not comparison["looks"]:
        return "95 % intervals"
    looks = ", ".join(map(str, comparison["looks"]))
    return f"seeds added until it was decided, 5 % spent over looks after {looks}; intervals"


def _escaped(rows: Sequence[Sequence[str]], escape: Callable[[str], str]) -> list[list[str]]:
    return [[escape(cell) for cell in row] for row in rows]


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
