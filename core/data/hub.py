"""Data sets read by the library `datasets` of Hugging Face: local files, or names of its hub."""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from paribus.core.data.images import Images, Side
from paribus.core.data.tables import check_columns, check_header, read_frame
from paribus.core.data.texts import Texts
from paribus.core.errors import MISSING, RequestError, bad_data, shown
from paribus.core.fileio import existing

_BUILDERS = {
    ".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json"
}  # fmt: skip
_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def datasets(
    path: str,
    target: str = "label",
    inputs: list[str] | None = None,
    split: str | None = None,
    size: Side | list[Side] | None = None,
    channels: Literal[1, 3] = 3,
) -> Any:
    """Read a Parquet, CSV or JSON-lines file, a folder of these or of images, or a named data set.

    A column of images becomes images, one of words texts, those of lists (tokens and their mask)
    inputs of several tensors by the columns' names, all else a table.

    Args:
        path: The file or folder; else a name, of the hub or of the local cache.
        target: The column of the targets.
        inputs: The columns of the inputs; none: all others.
        split: One split, which is then divided; none: train, validation and test as they are, or
            the only one.
        size: Height and width in pixels that each image is brought to; one number for both.
        channels: Of images: 3 for colours, 1 for grey.

    Raises:
        RequestError: If it cannot be read, or has other columns or splits.
    """
    try:
        import datasets as library
    except ImportError as error:
        raise RequestError(f"{error}.", "Give: pip install 'paribus[hf]'") from error
    place = existing(path)
    if place is None and (Path(path).suffix in _BUILDERS or path.startswith((".", "/", "~"))):
        text = f"There is no file or folder {shown(path, 200)}."
        raise RequestError(text, "Give data.path=FILE.", MISSING)
    _check_headers(place)
    suffix = place.suffix.lower() if place else ""
    kind, form = _BUILDERS.get(suffix), {"sep": "\t"} if suffix == ".tsv" else {}
    library.disable_progress_bars()
    before = library.config.HF_HUB_OFFLINE
    library.config.HF_HUB_OFFLINE = place is not None or before  # it asks even for local files
    try:
        source = {"path": kind, "data_files": str(place)} if kind else {"path": str(place or path)}
        # The library's cache knows a file by its path and time, not by its content.
        with TemporaryDirectory() as fresh:
            source |= {"cache_dir": fresh} if place else {}
            loaded = library.load_dataset(**source, **form)
    finally:
        library.config.HF_HUB_OFFLINE = before
    splits = {split: loaded[split]} if split in loaded else dict(loaded)
    parts = {part: splits[name] for part, name in _SPLITS.items() if name in splits}
    if split not in (None, *loaded) or (len(splits) > 1 and not {"train", "val"} <= parts.keys()):
        lacks = f"no {shown(split)}" if split else "not train and validation"
        raise bad_data(
            f"{shown(path, 200)} has the splits {', '.join(loaded)}, and {lacks}.",
            "Give data.split=NAME: that one is then divided.",
        )
    tables = parts if len(splits) > 1 else splits
    features = next(iter(tables.values())).features
    kinds = {name: type(kind).__name__ for name, kind in features.items()}
    for name in (name for name, kind_of in kinds.items() if kind_of == "Image"):
        file = type(features[name])(decode=False)  # it is decoded as all images are
        tables = {part: table.cast_column(name, file) for part, table in tables.items()}
    frames = {part: table.to_pandas() for part, table in tables.items()}
    names = inputs or [name for name in kinds if name != target]
    check_columns(next(iter(frames.values())), [target, *names], path)
    if len(names) > 1 and "Image" in (kinds[name] for name in names):
        raise bad_data(
            f"{shown(path, 200)}: images are inputs alone, not beside other columns.",
            "Give data.inputs=[COLUMN].",
        )
    # Lists of all parts are filled up with zeros to one length.
    longest = {
        name: max(len(cell) for frame in frames.values() for cell in frame[name])
        for name in names
        if kinds[name] in ("List", "LargeList", "Sequence")
    }

    def examples(frame: Any) -> tuple[Any, Any]:
        """Return inputs and targets of a split."""
        labels = frame[target].to_numpy()
        if kinds[target] == "ClassLabel":
            labels = np.array(features[target].int2str(labels.tolist()))
        cells = frame[names[0]].tolist()
        if kinds[names[0]] == "Image":
            files = [BytesIO(c["bytes"]) if c["bytes"] else Path(c["path"]) for c in cells]
            return Images(files, channels, [size, size] if isinstance(size, int) else size), labels
        if longest:
            columns = {name: frame[name].to_numpy() for name in names}
            for name, most in longest.items():
                rows = [np.stack(cell) if len(cell) else np.zeros(0, int) for cell in columns[name]]
                ends = ([(0, most - len(row)), *[(0, 0)] * (row.ndim - 1)] for row in rows)
                columns[name] = np.stack([*map(np.pad, rows, ends)])
            return columns, labels
        if len(names) == 1 and isinstance(cells[0], str):
            return Texts(cells, column=names[0]), labels
        return frame[names], labels

    rest = [n for n, kind in kinds.items() if kind == "Value" and n not in (target, *names)]
    read = {  # columns that are no inputs may be groups or times of a split
        part: (*examples(frame), {name: frame[name].to_numpy() for name in rest})
        for part, frame in frames.items()
    }
    return read if len(read) > 1 else next(iter(read.values()))


def _check_headers(place: Path | None) -> None:
    """Refuse a file, or one below a folder, with several columns of one name.

    The library renames those of a CSV file, and cannot read such a Parquet file.
    """
    from pyarrow import parquet

    files = [] if place is None else place.rglob("*") if place.is_dir() else [place]
    for file in files:
        kind = _BUILDERS.get(file.suffix.lower())
        if kind == "csv":
            read_frame(str(file), nrows=0)
        elif kind == "parquet":
            check_header(parquet.read_schema(file).names, str(file))
