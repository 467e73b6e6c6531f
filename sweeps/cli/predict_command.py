"""`predict`: predictions of a run's model for new data."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from paribus.core.errors import RequestError, shown
from paribus.sweeps.cli.completion import complete_subject
from paribus.sweeps.cli.console import print_json, table, warn
from paribus.sweeps.cli.options import json_option, root_option, trust_option
from paribus.sweeps.formatting import number
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.core.inference.predict import Prediction

LIKELIEST = 3  # classes of which the table gives the probability
WIDEST = 60  # characters of an input in the table


@click.command("predict", context_settings={"ignore_unknown_options": True})
@click.argument("run", shell_complete=complete_subject)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@trust_option
@root_option
@json_option
def predict_command(
    run: str, inputs: tuple[str, ...], trust: bool, root: ResultsDir, as_json: bool
) -> None:
    """Predict new data with the best checkpoint of a RUN.

    INPUT is what the run was trained on: CSV or TSV files or numbers (0.5,-1), images or folders
    of them, texts or files of texts (- reads lines from standard input). With --json and no INPUT,
    a JSON list of rows is read from standard input.
    """
    for word in inputs:  # -0.5 is a number, but no other option is known
        if re.match(r"--?[a-zA-Z][\w-]*(=|$)", word):
            raise click.NoSuchOption(word)
    from paribus.core.inference.new_inputs import Given
    from paribus.sweeps.evaluate import predict_named

    if inputs or not as_json:
        lines = _standard_input().split("\n") if "-" in inputs else []
        given = Given(inputs, lines)
    else:
        given = Given(rows=_document())
    found = predict_named(root, run, given, trust)
    for note in found.notes:
        warn(note)
    if as_json:
        print_json(found.to_dict())
    else:
        _print_table(found.predictions)


def _document() -> list[Any]:
    """Return the rows of the JSON document on standard input."""
    try:
        rows = json.loads(_standard_input(), parse_constant=_refuse_constant)
        json.dumps(rows, ensure_ascii=False).encode()  # an escape may be half a character
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"Standard input is no JSON document: {shown(error, 120)}.",
            "With --json and no INPUT it has to be a list of rows; else name INPUT.",
            "input",
        ) from error
    if not isinstance(rows, list):
        raise RequestError(
            f"The JSON document is {shown(json.dumps(rows), 40)}, not a list of rows.",
            "Put brackets around it.",
            "input",
        )
    return rows


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except (OSError, ValueError, RuntimeError, AttributeError) as error:  # closed, or no UTF-8
        raise RequestError(
            f"Standard input cannot be read as text (UTF-8): {shown(error, 120)}.",
            "Name a file instead.",
            "input",
        ) from error


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _print_table(predictions: Sequence[Prediction]) -> None:
    names = [shown(one.input, WIDEST) for one in predictions]
    if predictions[0].value is not None:
        values = [_values(one.value) for one in predictions]
        return table(("input", "value"), [*zip(names, values, strict=True)], right=(1,))
    labels = [_label(one.label) for one in predictions]
    likeliest = [_likeliest(one) for one in predictions]
    columns = ("input", "label", "probability")
    return table(columns, [*zip(names, labels, likeliest, strict=True)])


def _values(value: float | list[float] | None) -> str:
    return ", ".join(number(v) for v in (value if isinstance(value, list) else [value]))


def _label(label: str | list[str] | None) -> str:
    return shown(label if isinstance(label, str) else ", ".join(label or ()) or "–", WIDEST)


def _likeliest(prediction: Prediction) -> str:
    """Return the label's own probability of two classes; of more the largest with names."""
    probabilities = prediction.probabilities or {}
    if isinstance(prediction.label, str) and len(probabilities) == 2:
        return number(probabilities[prediction.label])
    largest = sorted(probabilities.items(), key=lambda item: -item[1])[:LIKELIEST]
    return ", ".join(f"{shown(name, WIDEST)} {number(value)}" for name, value in largest)


COMMANDS = (predict_command,)
