"""An experiment: a file with a docstring, `BASELINE` (the configuration) and `AXES`.

In place of `BASELINE` it may define a function `train`, or a `COMMAND`, and `SELECT` instead.
"""

import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from paribus.core.config.command import COMMAND, Command, read_command
from paribus.core.config.schema import COMPONENTS, SCRIPT, Configuration, same_value
from paribus.core.config.signatures import plain_default, read_signature
from paribus.core.config.values import as_plain, parse_component, with_place
from paribus.core.errors import Faults, RequestError, did_you_mean, shown
from paribus.core.fileio import user_path
from paribus.core.records.record import (
    RunRecord,
    has_old_names,
    places_of_sources,
    read_old_source,
    with_present_names,
)
from paribus.core.records.run_dir import RECORD, RunFolder
from paribus.core.sources.carried import carried_spec, import_from
from paribus.core.sources.reads import EXPERIMENT, Reads, forget_imports, is_users, observing


@dataclass(frozen=True)
class Experiment:
    """What an experiment file defines.

    Attributes:
        question: The first line of its docstring.
        baseline: The configuration to compare with, as the file states it.
        axes: Hyperparameter to levels (a list) or their text, in the file's order.
        objects: The file's own names, which components may refer to as ``file.py:name``.
        places: Where the sources that a finished run carries lay, by their paths in ``source/``.
        resolved: What `paribus.core.config.registry.resolve_component` found, by kind and name.
        command: What is started in place of a function `train`.
    """

    name: str
    path: Path
    question: str
    baseline: Configuration
    axes: dict[str, Any]
    objects: dict[str, Any] = field(repr=False, compare=False)
    places: Mapping[str, Path] = field(default_factory=dict, repr=False, compare=False)
    resolved: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False, compare=False)
    command: Command | None = field(default=None, repr=False, compare=False)


def catalogue() -> dict[str, Path]:
    """Return name to file of the experiments that come with the package, in order of name."""
    files = sorted((Path(__file__).parents[2] / "experiments").glob("*.py"))
    return {path.stem: path for path in files if not path.stem.startswith("_")}


def find_experiment(name: str) -> Path:
    """Return the file of an experiment, a name of the catalogue or a file's path, or refuse."""
    known = catalogue()
    if name in known:
        return known[name]
    is_file = name.endswith(".py")
    hint = "Give the path of an experiment, or a name that paribus list shows."
    if not is_file:
        hint = f"{did_you_mean(name, known)} The path of a .py file or a run is valid too."
    with suppress(OSError, ValueError):  # a name too long, a null byte
        path = user_path(name)
        if is_file and path.is_file():
            return path.resolve()
        if path.stem in known and is_file:
            hint = f"Did you mean '{path.stem}'? {hint}"
        elif is_file:
            beside = [shown(file.name) for file in path.parent.glob("*.py")]
            hint = f"{did_you_mean(path.name, beside, '')} {hint}".strip()
        elif Path(f"{name}.py").is_file():
            hint = f"Did you mean '{shown(name)}.py'?"
        elif path.suffix.lower() in (".csv", ".tsv") and path.is_file():
            hint = f"To make one of this table: paribus new NAME --data {shown(name)}"
    what = "file" if is_file else "experiment"
    raise RequestError(f"There is no {what} '{shown(name)}'.", hint)


def load_experiment(path: Path, extra_paths: tuple[Path, ...] = ()) -> Experiment:
    """Run an experiment file and validate what it defines.

    A finished run's file is executed only if it defines what the run uses, or is the catalogue's:
    a run may come from anyone. Raises RequestError if the file raises, or `BASELINE` or `AXES` is
    not what it should be.
    """
    record = RunFolder(path.parent.parent).record() if _carries(path) else None
    places = places_of_sources(record.noted) if record else {}
    _extend_import_path(path, extra_paths, places)
    where, known = path.name, catalogue().get(path.stem)
    if record and not (known and known.read_bytes() == path.read_bytes()):
        counted = {name.partition(":")[0] for name in record.identity["sources"]}
        if where not in counted:
            requested = Configuration.parse(with_present_names(record.requested, record), path.stem)
            return Experiment(path.stem, path, "", requested, {}, {}, places)
    objects = vars(_execute(path, record, places.get(where)))
    baseline, axes, command = objects.get("BASELINE"), objects.get("AXES", {}), None
    if COMMAND in objects:
        faults = Faults()
        command = read_command(where, objects, faults)
        objects[FUNCTION] = command
        baseline = script_baseline(where, objects, faults)
    elif isinstance(baseline, Mapping):
        if "SELECT" in objects and not record:
            raise RequestError(
                f"{where}: SELECT belongs to a function {FUNCTION}, and this file has a BASELINE.",
                'There it is a key: BASELINE = {…, "select": {"metric": "val/f1"}}.',
            )
        baseline = {
            key: _named(value, path, objects, f"{where}: {key}") if key in COMPONENTS else value
            for key, value in baseline.items()
        }
    elif "BASELINE" not in objects and FUNCTION in objects:
        baseline = script_baseline(where, objects, Faults())
    else:
        raise RequestError(
            f"{where} defines no BASELINE.",
            "BASELINE is a dict with task, data, model, loss, optimizer and train; or define a "
            f"generator {FUNCTION} that yields metrics, or a COMMAND.",
        )
    if not isinstance(axes, Mapping):
        raise RequestError(f"{where}: AXES is not a dict from hyperparameter to levels.")
    return Experiment(
        name=path.stem,
        path=path,
        question=(objects.get("__doc__") or "").strip().split("\n")[0],
        baseline=Configuration.parse(baseline, where),
        axes={str(key): _levels(str(key), value, path, objects) for key, value in axes.items()},
        objects=objects,
        places=places,
        command=command,
    )


def _extend_import_path(path: Path, folders: tuple[Path, ...], places: Mapping[str, Path]) -> None:
    """Let an experiment import what lies beside it.

    The file's folder and the extra ones are appended, never put first: an experiment hides no
    installed module. Only the sources that a finished run carries come first, as they are what it
    was trained with, even where another file of that name is found first.
    """
    SourceFileLoader.get_code = _code  # type: ignore[method-assign,assignment]
    import_from(path.parent, places)
    if _carries(path) and sys.path[:1] != [str(path.parent)]:
        sys.path.insert(0, str(path.parent))
    before = [folder for folder in _appended if folder in sys.path]
    sys.path[:] = [folder for folder in sys.path if folder not in before]
    new = dict.fromkeys(str(f) for f in (path.parent, *folders) if str(f) not in sys.path)
    # This experiment's `nets` is not that of one that was loaded before.
    _appended[:] = dict.fromkeys([*new, *before])
    sys.path += _appended


_appended: list[str] = []  # folders that experiments of this process import from
_usual_code = SourceFileLoader.get_code


def _code(loader: SourceFileLoader, name: str) -> CodeType | None:
    """Return a module's code: of a file of the user's from its text, which a run's id counts.

    Cached byte code passes for that of any text of the same size and time of change (`rsync -t`).
    Not by a finder: modules that are executed by their path would go past it.
    """
    path = loader.get_filename(name)
    if is_users(path):
        return loader.source_to_code(loader.get_data(path), path)
    return _usual_code(loader, name)


def _carries(path: Path) -> bool:
    """Return whether a finished run carries this file."""
    return path.parent.name == "source" and (path.parent.parent / RECORD).is_file()


def refuse_while_loading(call: str) -> None:
    """Refuse to train from within an experiment's file that is being loaded."""
    if _loading:
        raise RequestError(
            f"{_loading[-1].name} calls {call} while it is loaded as an experiment.",
            'Put the call below `if __name__ == "__main__":`.',
        )


def object_name(value: Any, path: Path, objects: Mapping[str, Any], where: str) -> str:
    """Return a configuration's name for an object, ``file.py:name`` or a dotted path, or refuse."""
    if getattr(value, "__module__", None) == objects["__name__"]:
        for name, candidate in objects.items():
            if candidate is value:
                return f"{path.name}:{name}"
    if dotted := dotted_name(value):
        return dotted
    if callable(value) and type(value).__module__ == objects["__name__"]:
        made = type(value).__name__
        raise RequestError(
            f"{where} is a {made} that was made already; each run makes its own, by its seed.",
            f'Name the class, and its keywords beside it: {{"name": {made}, "KEYWORD": VALUE}}.',
        )
    raise RequestError(
        f"{where}: {shown(getattr(value, '__qualname__', repr(value)))} has no name at the top "
        "level of a file.",
        "Define it there with def or class, or name it as a word.",
    )


def dotted_name(value: Any) -> str | None:
    """Return the shortest dotted path that a class or function can be imported by, if any."""
    parts = (getattr(value, "__module__", None) or "__main__").split(".")
    name = getattr(value, "__qualname__", "")
    if parts != ["__main__"] and name.isidentifier():
        for length in range(1, len(parts) + 1):
            owner = ".".join(parts[:length])
            if getattr(sys.modules.get(owner), name, None) is value:
                return f"{owner}.{name}"
    return None


def _named(value: Any, path: Path, objects: Mapping[str, Any], where: str) -> Any:
    """Return the same component with objects replaced by their names."""
    if isinstance(value, str):
        return parse_component(value, where)
    inner = dict(value) if isinstance(value, Mapping) else {"name": value}
    if inspect.isfunction(inner.get("groups")):  # of an optimizer
        inner["groups"] = inner["groups"].__name__
    if not isinstance(inner.get("name", ""), str):
        inner["name"] = object_name(inner["name"], path, objects, where)
    return with_place(inner)


def _levels(key: str, levels: Any, path: Path, objects: Mapping[str, Any]) -> Any:
    where = f"{path.name}: AXES {key}"
    if isinstance(levels, str):
        return levels
    if not isinstance(levels, Iterable) or isinstance(levels, Mapping):
        raise RequestError(f"{where} is not a list of levels.", f"Write [{shown(repr(levels))}].")
    if key in COMPONENTS:
        return [_named(level, path, objects, where) for level in levels]
    return [as_plain(level, where) for level in levels]


_loading: list[Path] = []  # files being executed


def _execute(path: Path, record: RunRecord | None, place: Path | None) -> ModuleType:
    """Run an experiment's file, or the one that this record's run carries, as from its place."""
    name = f"{EXPERIMENT}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if place:
        spec = carried_spec(name, path, place, is_experiment=True)
    if spec is None or spec.loader is None:
        raise RequestError(f"{shown(path)} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _loading.append(path)
    forget_imports()
    try:
        # Standard output is the command's own.
        with observing(Reads()), redirect_stdout(sys.stderr):
            if record and has_old_names(record):
                source = read_old_source(path.read_bytes(), str(path))
                exec(compile(source, path, "exec", dont_inherit=True), vars(module))
            else:
                spec.loader.exec_module(module)
    except RequestError:
        raise
    except SyntaxError as error:
        file = Path(error.filename).name if error.filename else path.name  # it may be an import's
        at = f", line {error.lineno}" if error.lineno else ""
        raise RequestError(f"{file}{at}: {error.msg}.") from error
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame for frame in frames if frame.filename in (str(path), str(place))]
        at = f", line {lines[-1].lineno}" if lines else ""
        raise RequestError(f"{path.name}{at}: {type(error).__name__}: {shown(error)}") from error
    finally:
        _loading.pop()
    return module


# A function as an experiment: what an experiment file's `train` and `SELECT` have to be. Each dict
# of metrics that the generator yields ends an epoch. Its keywords are the hyperparameters.

FUNCTION = "train"
HIDDEN = ("seed",)  # keywords that are no hyperparameters
_YIELD = 'Such as yield {"val/accuracy": accuracy, "val/loss": loss}.'


def script_baseline(file: str, objects: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """Return the configuration of a file's function, its defaults as the baseline's levels.

    Or of its command. Raises RequestError with `faults` and all that is wrong with it and `SELECT`.
    """
    function, select, levels = objects[FUNCTION], objects.get("SELECT"), dict[str, Any]()
    with faults.collecting():
        if isinstance(function, Command):
            levels |= function.levels
        else:
            check_function(function, f"{file}:{FUNCTION}")
            parameters = read_signature(function, 0, HIDDEN).parameters.values()
            plain = ((p, plain_default(p)) for p in parameters)
            levels |= {p.name: level for p, level in plain if same_value(level, p.default)}
    if not isinstance(select, Mapping) or not select.get("metric"):
        faults.add(
            f"{file}: SELECT does not say which metric chooses the best epoch.",
            'Such as SELECT = {"metric": "val/accuracy", "direction": "maximize"}.',
        )
    faults.check()
    return {SCRIPT: {"name": f"{file}:{FUNCTION}", **levels}, "select": select}


def check_function(function: Any, where: str) -> None:
    """Refuse, with every fault, what is no experiment, as far as that shows without calling it."""
    where, faults = shown(where), Faults()
    if not inspect.isgeneratorfunction(function):
        raise RequestError(f"{where} is no generator: it yields no metrics.", _YIELD)
    parameters = inspect.signature(function).parameters
    seed = parameters.get("seed")
    if seed is None or seed.kind is not seed.KEYWORD_ONLY:
        faults.add(
            f"{where} takes no 'seed' by keyword only.",
            f"Write def {function.__name__}(..., *, seed).",
        )
    for name, parameter in parameters.items():
        if name in HIDDEN:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            what = f"{where} takes {parameter}, which has no signature to check keywords against."
            faults.add(what, "Name its keywords, each with a default.")
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            faults.add(f"{where} takes '{name}' by position only.", "Take out the '/'.")
        elif name == "name":
            faults.add(f"{where}: 'name' is the function's own.", "Rename the keyword.")
        elif parameter.default is parameter.empty:
            hint = f"Give it the baseline's level: {name}=VALUE."
            faults.add(f"{where}: the keyword '{name}' has no default.", hint)
    faults.check()


def read_metrics(item: Any, metric: str) -> dict[str, float]:
    """Read one yielded dict as names to numbers, which need not be finite.

    A number may be an array or tensor of one element. Refused is what is no such dict, or lacks the
    `metric` that `SELECT` names.
    """
    if not isinstance(item, Mapping):
        raise RequestError(f"{shown(repr(item))} is not a dict of names to numbers.", _YIELD)
    found: dict[str, float] = {}
    for name, value in item.items():
        # It has to be fit for history, tables and W&B.
        fits = isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable()
        if not fits or name.startswith("_") or name == "epoch":
            raise RequestError(
                f"{shown(repr(name))} is no name for a metric.",
                "Take up to 100 printable characters, not beginning with '_', and not 'epoch'.",
            )
        shape = getattr(value, "shape", None)
        if shape is not None and math.prod(shape) == 1:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, int | float):
            text = shown(repr(value)) if shape is None else f"of shape {list(shape)}"
            raise RequestError(f"'{shown(name)}' is {text}, not a number.")
        try:
            found[str.__str__(name)] = float(value)  # plain text, also of an enum's member
        except OverflowError:
            raise RequestError(f"'{shown(name)}' is larger than any float.") from None
    if metric not in found:
        raise RequestError(
            f"'{shown(metric)}' is missing, which SELECT names.", did_you_mean(metric, found)
        )
    return found
