"""Read what other programs wrote of their runs: CSV, JSON, JSON lines, TensorBoard's events."""

import csv
import json
from pathlib import Path
from typing import Any

from paribus.core.errors import RequestError

Rows = list[tuple[str, dict[str, Any]]]


def read_rows(path: Path, name: str) -> tuple[list[str], Rows]:
    """Return the columns of a CSV file, and the rows of it or of JSON, each with where it stands.

    Lines end as files have them, not at separators inside of a text; blank ones are no rows.

    Raises:
        RequestError: If it cannot be read; `name` is what it is called.
    """
    where, columns, rows = name, list[str](), Rows()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                lines = csv.DictReader(file)
                lines.fieldnames = columns = [column.strip() for column in lines.fieldnames or ()]
                for row in lines:
                    if not columns:
                        raise RequestError(f"{name}, line 1: names no columns.")
                    rows.append((f"{name}, line {lines.line_num}", row))
                    where = f"{name}, line {lines.line_num + 1}"
                return columns, rows
            of_lines = path.suffix.lower() == ".jsonl"
            for number, text in enumerate(file if of_lines else [file.read()], 1):
                where = f"{name}, line {number}" if of_lines else name
                if text.strip() or not of_lines:
                    value = json.loads(text)
                    items = value if isinstance(value, list) else [value]
                    rows += [(where, dict(item.items())) for item in items]
        return columns, rows
    except (UnicodeDecodeError, OSError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise RequestError(f"{name}: cannot be read ({reason}).") from error
    except (csv.Error, ValueError, AttributeError, RecursionError) as error:
        reason = error if isinstance(error, csv.Error) else "it is no JSON object"
        raise RequestError(f"{where}: cannot be read ({reason}).") from error


def read_scalars(folder: Path) -> tuple[dict[str, list[tuple[int, float]]], Any]:
    """Return a folder's scalars as TensorBoard has them, steps and values by tag.

    And what its plugins wrote, by tag. Raises RequestError if it is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        message = "TensorBoard's files are read by tensorboard, which is not installed."
        hint = "Install it: pip install 'paribus[tensorboard]'."
        raise RequestError(message, hint) from error
    import numpy as np

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    # The shortest text of a float32 is the number that was logged: 0.91, not 0.91000003.
    scalars = {
        tag: [(event.step, float(str(np.float32(event.value)))) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    return scalars, events.summary_metadata
