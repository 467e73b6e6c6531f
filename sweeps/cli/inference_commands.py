"""`evaluate` and `predict`: what a recorded run's model answers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from paribus.core.errors import RequestError, shown
from paribus.core.fileio import creating, write_bytes, write_json
from paribus.sweeps.cli.completion import complete_subject
from paribus.sweeps.cli.console import bar, print_json, run_options, say, table, warn
from paribus.sweeps.formatting import number
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.core.inference.evaluate import Evaluation
    from paribus.core.inference.new_inputs import Given
    from paribus.core.inference.predict import Prediction
    from paribus.sweeps.evaluate import EvaluationComparison

LIKELIEST = 3  # classes of which the table gives the probability
WIDEST = 60  # characters of an input in the table


@click.command("evaluate")
@click.argument("name", metavar="RUN|STUDY", shell_complete=complete_subject)
@click.argument("labels", nargs=-1, metavar="[LABEL]...")
@click.option("--split", type=click.Choice(["val", "test"]), default="val", show_default=True,
              help="The part to evaluate on.")  # fmt: skip
@run_options
@click.pass_context
def evaluate_command(
    context: click.Context,
    name: str,
    labels: tuple[str, ...],
    split: Literal["val", "test"],
    trust: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Evaluate the best checkpoint of a RUN, or of a STUDY's chosen settings, on a part.

    Readings of the test part are counted. Of a study the baseline is evaluated and the settings
    named, else those that are better, or where none is, the best one; all seeds in one reading.
    """
    from paribus.sweeps.evaluate import EvaluationComparison, evaluate_named

    found = evaluate_named(root, name, split, labels, trust, bar(f"evaluating on {split}"))
    if as_json:
        print_json(found.to_dict())
    elif isinstance(found, EvaluationComparison):
        _print_study(found)
    else:
        print_evaluation(found)
    for what, (then, now) in found.environment.items():
        warn(f"environment: {what} was {then}, is {now}")
    for what, (then, now) in found.differs.items():
        warn(f"{what} was recorded as {then!r}, is {now!r}")
    context.exit(1 if found.differs and not found.environment else 0)


def _print_study(found: EvaluationComparison) -> None:
    from paribus.sweeps.analysis.verdict_text import answer, meaning
    from paribus.sweeps.cli.compare_command import print_comparison

    say(f"study {found.study} on its {found.split} part")
    print_comparison(found)
    say(answer(found), *meaning(found))
    _print_readings("this study", found.readings)


def print_evaluation(found: Evaluation) -> None:
    """Print a run's metrics, its classes and its confusion matrix on a part."""
    say(f"{found.run} on its {found.split} part")
    table(("metric", "value"), [[k, number(v, 6)] for k, v in found.metrics.items()], (1,))
    if found.report:
        from paribus.sweeps.stats.confusion import MOST_SHOWN, rows_of_classes

        names, matrix = list(found.report), found.confusion_matrix or []
        report = [*found.report.values()]
        kept = rows_of_classes([row["f1"] for row in report])
        rows = [
            [names[at], *[number(report[at][k]) for k in ("precision", "recall", "f1")],
             str(report[at]["support"])]
            for at in kept
        ]  # fmt: skip
        several = bool(matrix) and isinstance(matrix[0][0], list)
        kind = "label" if several else "class"
        table((kind, "precision", "recall", "f1", "examples"), rows, right=(1, 2, 3, 4))
        if len(kept) < len(names):
            say(f"The {len(kept)} with the lowest F1 of {len(names)}; --json has all.")
        if matrix and (several or len(names) <= MOST_SHOWN):
            _print_matrix([names[at] for at in kept], [matrix[at] for at in kept], several=several)
        else:
            _print_errors(names, found, MOST_SHOWN)
    _print_readings("this run", found.readings)


def _print_readings(whose: str, readings: int) -> None:
    if readings:
        times = "once" if readings == 1 else f"{readings} times"
        say(f"The test part of {whose} has been read {times}.")


def _print_matrix(names: Sequence[str], matrix: Sequence[Any], *, several: bool) -> None:
    """Print a confusion matrix, or that of each label below one another."""
    if not several:
        rows = [[name, *map(str, counts)] for name, counts in zip(names, matrix, strict=True)]
        return table(("true \\ predicted", *names), rows, right=range(1, len(names) + 1))
    rows = [
        [name if truth == "no" else "", truth, *map(str, counts)]
        for name, of_label in zip(names, matrix, strict=True)
        for truth, counts in zip(("no", "yes"), of_label, strict=True)
    ]
    return table(("label", "true \\ predicted", "no", "yes"), rows, right=(2, 3))


def _print_errors(names: Sequence[str], found: Evaluation, most: int) -> None:
    """Print the most frequent errors of many classes."""
    cells = found.confusion_counts or [
        (true, predicted, count)
        for true, counts in enumerate(found.confusion_matrix or ())
        for predicted, count in enumerate(counts)
    ]
    wrong = [cell for cell in cells if cell[0] != cell[1] and cell[2]]
    rows = [
        [names[true], names[predicted], str(count)]
        for true, predicted, count in sorted(wrong, key=lambda cell: -cell[2])[:most]
    ]
    table(("true", "predicted", "most frequent errors"), rows, right=(2,))


@click.command("predict", context_settings={"ignore_unknown_options": True})
@click.argument("run", shell_complete=complete_subject)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@run_options
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
    from paribus.sweeps.evaluate import predict_named

    def read_given() -> Given:
        from paribus.core.inference.new_inputs import Given  # imports torch

        if as_json and not inputs:
            return Given(rows=_document())
        return Given(inputs, _standard_input().split("\n") if "-" in inputs else [])

    found = predict_named(root, run, read_given, trust)
    warn(*found.notes)
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
        ) from error
    if not isinstance(rows, list):
        raise RequestError(
            f"The JSON document is {shown(json.dumps(rows), 40)}, not a list of rows.",
            "Put brackets around it.",
        )
    return rows


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except (OSError, ValueError, RuntimeError, AttributeError) as error:  # closed, or no UTF-8
        raise RequestError(
            f"Standard input cannot be read as text (UTF-8): {shown(error, 120)}.",
            "Name a file instead.",
        ) from error


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _print_table(predictions: Sequence[Prediction]) -> None:
    rows = []
    for one in predictions:
        name = shown(one.input, WIDEST)
        if one.value is not None:
            values = one.value if isinstance(one.value, list) else [one.value]
            rows.append([name, ", ".join(map(number, values))])
        else:
            label = one.label if isinstance(one.label, str) else ", ".join(one.label or ()) or "–"
            rows.append([name, shown(label, WIDEST), _likeliest(one)])
    if len(rows[0]) == 2:
        table(("input", "value"), rows, right=(1,))
    else:
        table(("input", "label", "probability"), rows)


def _likeliest(prediction: Prediction) -> str:
    """Return the label's own probability of two classes; of more the largest with names."""
    probabilities = prediction.probabilities or {}
    if isinstance(prediction.label, str) and len(probabilities) == 2:
        return number(probabilities[prediction.label])
    largest = sorted(probabilities.items(), key=lambda item: -item[1])[:LIKELIEST]
    return ", ".join(f"{shown(name, WIDEST)} {number(value)}" for name, value in largest)


@click.command("export")
@click.argument("run", shell_complete=complete_subject)
@click.option("--output", "-o", metavar="FILE",
              help="The file, .onnx. Default: RUN.onnx in this folder.")  # fmt: skip
@run_options
def export_command(
    run: str, output: str | None, trust: bool, root: ResultsDir, as_json: bool
) -> None:
    """Write the best checkpoint of a RUN as ONNX, checked on the validation part.

    Standardization is inside. What is to be done before, and the names of the classes, are in a
    JSON beside it, FILE.json.
    """
    from paribus.sweeps.evaluate import export_named
    from paribus.sweeps.report.page import checked_output

    file = checked_output(output or "run.onnx", (".onnx",), "The model")
    found = export_named(root, run, trust)
    file = file if output else file.with_stem(found.schema["run"])
    beside = file.with_name(f"{file.name}.json")
    with creating(f"The model {shown(file, 200)}", "--output FILE"):
        write_bytes(file, found.content)
        write_json(beside, found.schema)
    if as_json:
        document = found._asdict() | {"file": str(file.absolute())}
        return print_json({key: value for key, value in document.items() if key != "content"})
    say(f"run {found.schema['run']}: {file}; what goes in and comes out: {beside}")
    say(f"checked on {found.examples} examples: outputs differ by at most {found.difference:.1e}")
    if found.precision != "fp32":
        say(f"it computes in fp32, and is checked against that; the run in {found.precision}")
    rows = [[key, *map(number, both)] for key, both in found.metrics.items()]
    return table(("metric", "PyTorch", "ONNX"), rows, right=(1, 2))
