"""Values as they are typed: YAML 1.2 scalars and lists, and how they are shown again.

PyYAML implements YAML 1.1, where ``1e-3`` is a word and ``on`` is true. The loader below takes the
core schema of YAML 1.2 (section 10.3.2) instead: ``1e-3`` is a number and ``on`` a word.
"""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any

import yaml

from paribus.core.errors import RequestError, shown

NULL_WORDS = ("none", "None", "null", "Null", "NULL")
MAX_LENGTH = 10_000
LARGEST_WHOLE = 2**63 - 1
_CALL = re.compile(r"\s*([^\s()\[\]=,]+)\s*\((.*)\)\s*", re.DOTALL)


class _CoreSchema(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own form)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Scalars and lists only: no tags, anchors and aliases, no mappings inside lists."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        machinery = (
            isinstance(event, yaml.AliasEvent)
            or event.anchor is not None
            or event.tag is not None
            or (isinstance(event, yaml.MappingStartEvent) and parent is not None)
        )
        if machinery:
            raise yaml.composer.ComposerError(None, None, "not a scalar or list", event.start_mark)
        return super().compose_node(parent, index)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _CoreSchema.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


_CoreSchema.add_constructor("tag:yaml.org,2002:int", _number)


def parse_value(text: str, where: str) -> Any:
    """Read one typed value: number, word, true or false, list, or a dict as JSON has it.

    ``none`` stays a word: whether it means null depends on the parameter; `signatures` decides.
    Refused is what is no YAML, too long, or holds a number that is not finite.
    """
    if len(text) > MAX_LENGTH:
        raise RequestError(f"{where}: the value is longer than {MAX_LENGTH} characters.")
    if text.strip() == "":
        raise RequestError(
            f"{where}: the value is empty.", "Write KEY=VALUE, such as optimizer.lr=0.01."
        )
    value: Any = text.strip()
    if value[0] == "{":
        with suppress(ValueError):
            return as_plain(json.loads(value), where)
    if value[0] not in "~&*!|>@`%{?#":  # home folders and words, never YAML's own machinery
        try:
            value = yaml.load(text, Loader=_CoreSchema)
        except (yaml.YAMLError, ValueError, RecursionError):
            if "[" in text or '"' in text or "'" in text:
                raise RequestError(
                    f"{where}: '{shown(text)}' is not a value.",
                    "Check brackets, quotes and commas.",
                ) from None
    # "a: b" is a word with a colon in it, not a mapping.
    return as_plain(text.strip() if isinstance(value, dict) else value, where)


def as_plain(value: Any, where: str) -> Any:
    """Return the same value as JSON can hold it: numpy's numbers become Python's, paths words.

    Raises RequestError for anything but finite numbers, words, true, false, none, and lists and
    dicts of these.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, list | tuple):
        items = [as_plain(item, where) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        return {key: as_plain(item, f"{where}.{key}") for key, item in value.items()}
    if not (value is None or isinstance(value, bool | int | float | str)):
        raise RequestError(
            f"{where}: {shown(repr(value))} is not a number, a word, true, false, none or a list."
        )
    if isinstance(value, str) and value.encode(errors="replace").decode() != value:
        raise RequestError(f"{where}: '{shown(value)}' is not valid text.")
    if isinstance(value, float) and not math.isfinite(value):
        raise RequestError(f"{where}: {value} is not a finite number.")
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        raise RequestError(f"{where}: a whole number of more than 64 bits.")
    return value


def split_commas(text: str) -> list[str]:
    """Split at the commas that stand outside brackets, parentheses and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[({":
            depth += 1
        elif char in "])}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def parse_component(text: str, where: str) -> dict[str, Any]:
    """Read ``cross_entropy(label_smoothing=0.1)`` as ``{"name": …, "label_smoothing": 0.1}``."""
    text = text.strip()
    call = _CALL.fullmatch(text)
    if call is None:
        if not text or any(c in text for c in "()[]=,"):
            raise RequestError(
                f"{where}: '{shown(text)}' is not a component.",
                "Write NAME or NAME(keyword=value, ...): cross_entropy(label_smoothing=0.1).",
            )
        return with_place({"name": text})
    name, inside = call.groups()
    component: dict[str, Any] = {"name": name}
    for pair in split_commas(inside) if inside.strip() else []:
        keyword, equals, value = pair.partition("=")
        keyword = keyword.strip()
        if not equals or not keyword.isidentifier() or keyword in component:
            raise RequestError(
                f"{where}: '{shown(pair.strip())}' in '{shown(text)}' is not keyword=value.",
                "Each keyword stands once, as in step(step_size=5, gamma=0.5).",
            )
        component[keyword] = parse_value(value, f"{where}: {keyword}")
    return with_place(component)


def with_place(component: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``datasets:FILE`` as the component ``datasets`` with ``path=FILE``: no part of an id."""
    name, _, path = str(component.get("name")).partition(":")
    if name != "datasets" or not path:
        return dict(component)
    return {**component, "name": name, "path": path}


def parse_components(text: str, where: str) -> list[dict[str, Any]]:
    """Read components as typed: ``[RandomHorizontalFlip, RandomCrop(size=28, padding=2)]``."""
    text = text.strip()
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return [parse_component(part, where) for part in split_commas(inside)]


def show_value(value: Any) -> str:
    """Return a value as labels and messages show it: numbers by `repr`, words as they are."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and "name" in value:
        keywords = ", ".join(f"{k}={show_value(v)}" for k, v in value.items() if k != "name")
        return f"{value['name']}({keywords})" if keywords else str(value["name"])
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
        return f"[{', '.join(show_value(item) for item in value)}]"
    if isinstance(value, list | tuple | dict):
        return json.dumps(value)
    return repr(value)


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def null_if_not_finite(value: Any) -> Any:
    """Return the same structure with null for NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: null_if_not_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [null_if_not_finite(item) for item in value]
    return value
