"""What is drawn: texts, values, breaks of bytes and of JSON."""

import json

from hypothesis import strategies as st

TEXTS = st.one_of(
    st.sampled_from([
        "", " ", "x", "é", "a\0b", "\x1b[31mred", "\u202eevil", "[red]b[/red]", "[/]", "../x",
        "/etc/passwd", "~", "~root", "x" * 5000, "<script>alert(1)</script>", "'; DROP TABLE a; --",
        "os.system", "evil", "evil.Net", "evil.py:Net", "subprocess.run", "builtins.exec", "%s{0}",
        "nan", "inf", "-1e999", "1e400", "1_000", "١٢", "0x10", "null", "true", "\r\n", "a,b", '"',
        "=", "==", "--help", "-", "*", "${HOME}", "$(touch ran)", "`id`", "\ud800", "\ufeff", "🔥",
        "baseline", "val/accuracy", "line", "torch.nn.Linear", "line.py", "line.py:x", "\t",
    ]),
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(repr),
)  # fmt: skip
TYPED = TEXTS.map(lambda text: text.replace("\0", "\\0").encode("utf-8", "replace").decode())
NUMBERS = st.sampled_from([
    0, 1, -1, 2, 5, 2**63, -(10**30), 10**400, 0.5, -0.5, 1e308, 1e-320, float("nan"), float("inf")
])  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
BYTES = st.lists(
    st.tuples(
        st.sampled_from(["cut", "flip", "insert", "delete", "repeat"]),
        st.floats(0, 1),
        st.one_of(st.binary(max_size=4), TEXTS.map(lambda t: t.encode("utf-8", "surrogatepass"))),
    ),
    min_size=1,
    max_size=3,
)
TREES = st.lists(
    st.tuples(st.integers(0, 999), st.sampled_from(["set", "set", "drop", "key"]), VALUES),
    min_size=1,
    max_size=3,
)


def broken_bytes(content, breaks):
    """Apply breaks of `BYTES` to the content of a file."""
    for how, share, new in breaks:
        at = int(share * len(content))
        if how == "cut":
            content = content[:at]
        elif how == "insert":
            content = content[:at] + new + content[at:]
        elif how == "delete":
            content = content[:at] + content[at + 1 + len(new) :]
        elif how == "repeat":
            content = content[:at] + content[at // 2 :]
        elif content[at:]:
            content = content[:at] + bytes([content[at] ^ 1 << len(new) % 8]) + content[at + 1 :]
    return content


def broken_tree(tree, breaks):
    """Apply breaks of `TREES` to parsed JSON, a copy of which is returned."""
    tree = json.loads(json.dumps(tree))
    for number, how, value in breaks:
        places = list(walked(tree))
        if not places:
            return value
        owner, key = places[number % len(places)]
        if how == "set":
            owner[key] = value
        elif how == "drop":
            del owner[key]
        elif isinstance(owner, dict):
            owner[str(value)] = owner.pop(key)
    return tree


def walked(tree):
    """Yield (owner, key) of every place in a tree, the outermost first."""
    level = [tree]
    while level:
        inner = []
        for owner in level:
            pairs = owner.items() if isinstance(owner, dict) else enumerate(owner)
            for key, value in list(pairs):
                yield owner, key
                if isinstance(value, dict | list):
                    inner.append(value)
        level = inner


def joined(lists):
    return [one for each in lists for one in each]


def as_json(tree):
    return json.dumps(tree, ensure_ascii=True).encode()  # with NaN, as others write it


CELLS = st.one_of(
    TEXTS, st.sampled_from(["1", "2.5", "", "NA", "red", "0", "1e309", "-inf", "1,5"])
)


@st.composite
def grids(draw, header, most=8):
    """Rows of cells that are nearly those of a table, as CSV; not quoted as they should be."""
    names = draw(st.lists(st.one_of(st.sampled_from(header), CELLS), min_size=0, max_size=5))
    rows = draw(st.lists(st.lists(CELLS, max_size=5), max_size=most))
    copies = draw(st.sampled_from([1, 1, 4, 12]))
    separator = draw(st.sampled_from([",", ",", "\t", ";"]))
    return "\n".join(separator.join(row) for row in [names, *rows * copies]).encode(
        "utf-8", "surrogatepass"
    )
