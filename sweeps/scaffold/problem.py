"""From what ``--data`` names to the problem it poses: its task, and the baseline that suits it."""

import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas
from PIL import Image

from paribus.core.data.images import IN_MEMORY, images
from paribus.core.data.tables import ID_NAME, check_columns, check_decimals, read_frame
from paribus.core.data.texts import text as labelled_texts
from paribus.core.errors import bad_data, first_few, many, nearest, shown
from paribus.core.fileio import user_path

FEW_VALUES = 20  # at most so many different whole numbers may be classes,
ROWS_PER_VALUE = 10  # if there are so many rows for each of them,
FEWEST_ROWS = 3  # and none has fewer than this: training, validation and test need one
UNBALANCED = 5  # times as many of the commonest class as of the rarest
_FEWEST_FOR_IDS = 10  # in fewer rows any column may have another value in each
_NUMBERS = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})"
_MONTHS = r"\d{1,2}[ -][A-Za-z]{3,9}[ ,-]+\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4}"
_DATE = rf"\s*(?:{_NUMBERS}|{_MONTHS})(?:[ T]\d{{1,2}}:\d{{2}}.*)?\s*"
_NAMED = 5  # columns that a note or a message names
_WORDS_OF_TEXT = 3
_USUAL_SIDES = range(8, 129)  # pixels of an image's side that need no scaling


@dataclass(frozen=True)
class Guess:
    """The task that the targets ask for, why, a note on a rare class, and the targets' size.

    The size is the root mean square of the values to predict; 1 for classes.
    """

    task: str
    why: str
    rare: str = ""
    size: float = 1.0


@dataclass(frozen=True)
class Constant:
    """A constant of the file: a name in capitals, its value, and the reason for the value."""

    name: str
    value: str | int | Path | list[str]
    why: str = ""


@dataclass(frozen=True)
class Problem:
    """Data, and the baseline that suits it.

    Attributes:
        question: What the experiment asks.
        facts: What was found in the data: a sentence.
        data: The data component's name; `constants` are its keywords.
        examples: How many there are.
        standardize: Whether the file has to ask for it; tables are standardized by default.
        notes: What to know before a study; comments in the file.
        split: What the split goes by, ``{"group_on": "customer"}``; empty by default.
    """

    guess: Guess
    question: str
    facts: str
    data: str
    model: str
    examples: int
    constants: dict[str, Constant] = field(default_factory=dict)
    standardize: bool = False
    notes: tuple[str, ...] = ()
    split: dict[str, str] = field(default_factory=dict)


Ask = Callable[[str], bool]  # a question, to be answered yes or no


def find_problem(
    data: str,
    target: str | None,
    missing: str | None,
    keep: Sequence[str] = (),
    ask: Ask | None = None,
) -> Problem:
    """Return the problem that data poses: a CSV or TSV file with a header, or a folder of images.

    The `target`, a column to predict, may be left out for texts with labels. Empty cells become the
    ``mean``, or ``drop`` their rows, by `missing`; else they are refused. Columns that look like
    ids or dates are left out where `ask` says so, or is None, but for those to `keep`.

    Raises:
        RequestError: If there is no such data, it is not clear what to predict, or nothing can be
            learned from it.
    """
    try:
        data.encode()  # half a character could not stand in a file
        path = user_path(data)
        # The data's own name is kept if that is a link.
        path = path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
        is_file, is_folder = path.is_file(), path.is_dir()
    except (ValueError, OSError) as error:
        raise bad_data(f"--data {shown(data)} is no path: {shown(error)}.") from error
    if is_file:
        return _of_file(path, target, missing, keep, ask)
    if not is_folder:
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, siblings)
        raise bad_data(
            f"There is no file or folder {shown(data)} (looked for {shown(path, 200)}).",
            f"Did you mean '{shown(Path(data).with_name(near))}'?"
            if near
            else "Give --data a CSV or TSV file, or a folder with one folder of images for each "
            "class.",
        )
    tables = sorted(p.name for p in path.iterdir() if p.suffix.lower() in (".csv", ".tsv"))
    if tables and (target is not None or not any(p.is_dir() for p in path.iterdir())):
        raise bad_data(
            f"{shown(data)} is a folder of tables: {shown(first_few(tables), 200)}.",
            f"Name one: --data {shlex.quote(shown(str(Path(data) / tables[0])))}",
        )
    if target is not None or missing is not None or keep:
        option = "--target" if target is not None else "--keep" if keep else "data.missing"
        raise bad_data(
            f"{option} is about the columns of a table, and {shown(data)} is a folder of images.",
            "Leave it out.",
        )
    return _of_images(path)


def _of_file(
    path: Path, target: str | None, missing: str | None, keep: Sequence[str], ask: Ask | None
) -> Problem:
    frame = read_frame(str(path))
    names = [str(name) for name in frame.columns]
    frame.columns = pandas.Index(names)
    name = shown(path.name)
    if frame.empty:
        raise bad_data(f"{name}: has no rows.", "Give a table with rows.")
    if len(names) < 2:
        raise bad_data(
            f"{name}: has a single column, '{shown(names[0])}': nothing to predict it from.",
            "Separate cells by commas, in a .tsv file by tabs.",
        )
    check_columns(frame, [*([] if target is None else [target]), *keep], path.name)
    texts = [column for column in names if len(names) == 2 and _is_text(frame[column])]
    if len(texts) == 1 and texts != [target]:
        return _of_texts(path, texts[0], names[texts == names[:1]], missing)
    if target is None:
        raise bad_data(
            f"{name}: which column is to be predicted? It has {shown(', '.join(names), 200)}.",
            f"Add --target COLUMN, such as --target {shlex.quote(shown(names[-1], 40))}.",
        )
    out: dict[str, str] = {}
    for column in frame.columns.drop([target, *keep], errors="ignore"):
        if why := _why_left_out(column, frame[column]):
            question = f"The column '{shown(column, 40)}' looks like no input: {why}. Leave it out?"
            if ask is None or ask(question):
                out[column] = why
    if len(out) == len(names) - 1:
        raise bad_data(
            f"{name}: all columns besides the target look like ids or dates: {_listed([*out])}.",
            "Name those that are inputs with --keep COLUMN.",
        )
    check_decimals(frame.drop(columns=[*out]), path.name)
    whole, frame = frame, _usable_rows(frame.drop(columns=[*out]), name, target, missing)
    found = _of_table(path, frame, target, missing, out)
    rows = whole.loc[frame.index, [*out]].dropna(axis=1)
    ids = [c for c in rows if ID_NAME.fullmatch(c) and rows[c].nunique() < len(rows)]
    dates = [c for c in rows if out[c].startswith("dates")]
    split = {"group_on": min(ids, key=lambda c: rows[c].nunique())} if ids else {}
    without = ", without split.group_on (split.group_on=null)" if ids else ""
    notes = [  # whether time matters for what is predicted, a table does not say
        "To predict the future, validate on what came after training: "
        f"'split': {{'time_on': {shown(column, 40)!r}}} in the baseline{without}."
        for column in dates[:1]
    ]
    return replace(found, split=split, notes=(*found.notes, *notes))


def _why_left_out(name: str, cells: pandas.Series) -> str:
    """Return why a column looks as if a model could only memorize it; empty where it does not."""
    rows, values = len(cells), cells.nunique()
    if rows < _FEWEST_FOR_IDS:
        return ""
    named = bool(ID_NAME.fullmatch(name)) and values > FEW_VALUES
    if _is_numeric(cells):
        whole = bool((cells == np.round(cells)).all())
        # Measured numbers differ in each row too.
        in_order = bool(cells.is_monotonic_increasing or np.ptp(cells) < 2 * rows)
        unlike = values == rows and whole and in_order
        return f"an id, with {values} values in {rows} rows" if unlike or (named and whole) else ""
    if cells.dropna().astype(str).str.fullmatch(_DATE).mean() > 0.9:
        return f"dates, which would be {many(values, 'input')}"
    if not _not_numbers(cells) and (named or 2 * values > rows):
        return f"words with {values} values in {rows} rows, each an input"
    return ""


def _is_text(cells: pandas.Series) -> bool:
    """Return whether at least half of the cells are sentences."""
    sentences = [isinstance(c, str) and len(c.split()) >= _WORDS_OF_TEXT for c in cells]
    return 2 * sum(sentences) >= len(cells)


def _of_texts(path: Path, text: str, label: str, missing: str | None) -> Problem:
    if missing is not None:
        raise bad_data(f"{shown(path.name)}: texts have no mean.", "Leave data.missing out.")
    texts, labels = labelled_texts(str(path), text, label)
    return Problem(
        guess=guess_task(pandas.Series(labels), f"the column '{shown(label, 40)}'"),
        question=f"What helps to tell '{shown(label, 30)}' from the texts in "
        f"{shown(path.name, 30)}?",
        facts=f"{many(len(texts), 'text')}.",
        data="text",
        constants={
            "path": Constant("DATA", path),
            "text": Constant("TEXT", text),
            "label": Constant("LABEL", label),
        },
        model="text_bag",
        examples=len(texts),
    )


def _usable_rows(
    frame: pandas.DataFrame, name: str, target: str, missing: str | None
) -> pandas.DataFrame:
    """Return the rows that the experiment will have."""
    empty = {str(column): count for column, count in frame.isna().sum().items() if count}
    if hollow := [column for column, count in empty.items() if count == len(frame)]:
        raise bad_data(
            f"{name}: every cell is empty in column {_listed(hollow)}.", "Take it out of the file."
        )
    if (empty and missing is None) or (target in empty and missing == "mean"):
        counts = ", ".join(f"'{shown(column, 40)}' ({count})" for column, count in empty.items())
        mean = "data.missing=mean to fill them (numbers: the training part's mean), or "
        raise bad_data(
            f"{name}: cells are empty in column {shown(counts, 400)}; NA, None and the like count "
            "as empty.",
            f"Add {'' if target in empty else mean}data.missing=drop to leave their rows out.",
        )
    whole = frame.dropna() if missing == "drop" else frame
    if whole.empty:
        raise bad_data(f"{name}: every row has an empty cell.", "Fill some.")
    return whole


def _of_table(
    path: Path,
    frame: pandas.DataFrame,
    target: str,
    missing: str | None,
    out: Mapping[str, str],
) -> Problem:
    features = frame.drop(columns=target)
    guess = guess_task(frame[target], f"the column '{shown(target, 40)}'")
    constants = {"path": Constant("DATA", path), "target": Constant("TARGET", target)}
    if missing is not None:
        constants["missing"] = Constant("MISSING", missing)
    notes = _notes(features)
    if out:
        constants["leave_out"] = Constant("LEAVE_OUT", [*out])
        reasons = [f"'{shown(column, 40)}' ({why})" for column, why in out.items()]
        left_out = first_few(reasons, _NAMED)
        notes.insert(0, f"Left out, as a model could only memorize it: column {left_out}. "
                     "paribus new --keep COLUMN keeps one.")  # fmt: skip
    numbers = sum(_is_numeric(features[name]) for name in features.columns)
    kinds = {"of numbers": numbers, "of words": len(features.columns) - numbers}
    columns = [f"{many(count, 'column')} {kind}" for kind, count in kinds.items() if count]
    # A linear layer's weights reach values of any size; a network that begins near 0 does not.
    far = guess.task == "regression" and not 0.1 <= guess.size <= 10
    return Problem(
        guess=guess,
        question=f"What helps to predict '{shown(target, 30)}' in {shown(path.name, 30)}?",
        facts=f"{many(len(frame), 'row')}; {' and '.join(columns)} besides the target.",
        data="table",
        constants=constants,
        model="linear" if far else "mlp",
        examples=len(frame),
        notes=tuple(notes),
    )


def _notes(features: pandas.DataFrame) -> list[str]:
    """Return notes on columns from which little can be learned."""
    notes: list[str] = []
    constants: list[str] = []
    rows = len(features)
    for name, cells in features.items():
        if odd := _not_numbers(cells):
            notes.append(
                f"Read as words, as it is not all numbers: column '{shown(name, 40)}' "
                f"({len(odd)} of {rows} cells, such as '{shown(odd[0], 20)}'). Correct them, or "
                "leave them empty."
            )
        if cells.nunique(dropna=False) == 1:
            constants.append(str(name))
    if constants and rows > 1:
        notes.append(
            f"The same value in every row: column {_listed(constants)}. It carries no information."
        )
    return notes


def _not_numbers(cells: pandas.Series) -> list[str]:
    """Return the cells that make a column, most of which are numbers, one of words."""
    if _is_numeric(cells):
        return []
    texts = cells.astype(str)
    # A comma may stand for the decimal point, or between the thousands.
    readings = (texts.str.replace(",", other, regex=False) for other in (".", ""))
    decimal, thousands = (pandas.to_numeric(r, errors="coerce").notna() for r in readings)
    numbers = decimal | thousands
    odd = texts[~numbers | texts.str.contains(",", regex=False)]
    return list(odd) if numbers.mean() > 0.5 else []


def _is_numeric(cells: pandas.Series) -> bool:
    return cells.dtype.kind in "iuf"


def _of_images(folder: Path) -> Problem:
    """Return the problem of images in a folder for each class, or in such folders by part."""
    found = images(str(folder))
    parts = found if isinstance(found, dict) else {"all": found}
    files = [path for some, _ in parts.values() for path in some.paths]
    labels = pandas.Series([str(c) for _, labels in parts.values() for c in labels.tolist()])
    counts = labels.value_counts()
    if len(counts) < 2:
        raise bad_data(
            f"There is one folder of images, '{shown(counts.index[0], 20)}', so one class: nothing "
            "to predict.",
            "Give --data FOLDER with one folder of images for each class.",
        )
    sizes: set[tuple[int, int]] = set()  # (height, width)
    modes: set[str] = set()
    for file in files:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
                sizes.add((image.height, image.width))
                modes.add(image.mode)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # the trial of the experiment decodes it, and names it
    grey = bool(modes) and modes <= {"1", "L"}
    constants = {"root": Constant("DATA", folder)}
    height, width = next(iter(sizes), (1, 1))
    sides = sorted({side for size in sizes for side in size})
    if len(sizes) > 1 or any(side not in _USUAL_SIDES for side in sides):
        height = width = min(max(sides[0], _USUAL_SIDES[0]), _USUAL_SIDES[-1])
        why = f"pixels; sides in the folder are {sides[0]} to {sides[-1]}"
        constants["size"] = Constant("SIZE", height, why)
    if grey:
        constants["channels"] = Constant("COLOURS", 1, "all images are grey")
    ready = f" in the folders {' and '.join(parts)}" if isinstance(found, dict) else ""
    return Problem(
        guess=guess_classes(counts, f"there are {len(counts)} folders, one for each class"),
        question=f"What helps a network tell the images in {shown(folder.name, 40)} apart?",
        facts=f"{many(len(files), 'image')} of {len(counts)} classes{ready}.",
        data="images",
        constants=constants,
        model="cnn",
        examples=len(files),
        standardize=4 * len(files) * (1 if grey else 3) * height * width <= IN_MEMORY,
    )


def guess_task(targets: pandas.Series, what: str) -> Guess:
    """Guess the task: words, two values and few whole numbers are classes, all else quantities.

    Targets are one for each example `[N]`, none of them empty; messages call them `what`.

    Raises:
        RequestError: If there is nothing to predict, or a class has too few examples.
    """
    counts = targets.value_counts()
    subject = f"{what[0].upper()}{what[1:]}"
    if len(counts) < 2:
        raise bad_data(
            f"{subject} has the same value in every row, {_quoted(counts.index)}: there is nothing "
            "to predict.",
            "Name another with --target.",
        )
    numeric = targets.dtype.kind in "iuf"
    if numeric and (why := _why_quantity(counts, what)):
        values = targets.to_numpy(dtype=np.float64)
        finite = values[np.isfinite(values)]  # others are refused where the data is loaded
        largest = np.abs(finite).max(initial=0.0) or 1.0  # so that no square overflows
        scaled = float(np.linalg.norm(finite / largest)) / np.sqrt(max(1, len(finite)))
        return Guess("regression", why, size=float(largest * scaled))
    few = counts[counts < FEWEST_ROWS]
    if len(few):
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        raise bad_data(
            f"{subject} has {len(counts)} classes, and some of them have fewer than {FEWEST_ROWS} "
            f"of the {counts.sum()} rows: {_quoted(few.index[:_NAMED])}{more}. Training, "
            "validation and test need one each.",
            "Leave these rows out, or name another column with --target.",
        )
    if len(counts) == 2:
        return guess_classes(
            counts, f"{what} has 2 values: {_quoted(sorted(counts.index, key=str))}"
        )
    kind = f"whole numbers in {len(targets)} rows" if numeric else "words"
    return guess_classes(counts, f"{what} has {len(counts)} different {kind}")


def guess_classes(counts: pandas.Series, why: str) -> Guess:
    """Return the task of classes with these counts, in descending order."""
    rarest, total = counts.min(), counts.sum()
    is_rare = counts.max() >= UNBALANCED * rarest
    rare = f"{_quoted(counts.index[-1:])} is rare: {rarest} of {total}" if is_rare else ""
    return Guess("binary" if len(counts) == 2 else "multiclass", why, rare)


def _why_quantity(counts: pandas.Series, what: str) -> str:
    """Return why numbers are quantities; nothing where they are classes."""
    values = counts.index.to_numpy(dtype=np.float64)
    odd = values[~np.isfinite(values) | (values != np.round(values))]
    if len(odd):
        return f"{what} has numbers that are not whole: {odd[0].item()!r}"
    rows, rarest = int(counts.sum()), int(counts.min())
    found = f"{what} has {len(counts)} different whole numbers in {rows} rows"
    if len(counts) == 2:
        return ""
    if len(counts) > FEW_VALUES:
        return f"{found}, more than {FEW_VALUES}"
    if rows < ROWS_PER_VALUE * len(counts):
        return f"{found}, fewer than {ROWS_PER_VALUE} for each"
    if rarest < FEWEST_ROWS:
        return f"{found}, and {counts.index[-1]:g} in {rarest} alone"
    return ""


def _quoted(values: Iterable[object]) -> str:
    words = [f"'{shown(value, 20)}'" if isinstance(value, str) else str(value) for value in values]
    return " and ".join(words) if len(words) == 2 else ", ".join(words)


def _listed(names: Sequence[str]) -> str:
    return first_few([f"'{shown(name, 40)}'" for name in names], _NAMED)
