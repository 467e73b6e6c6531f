"""Command lines, and the values of an experiment's file."""

from hypothesis import strategies as st

from fuzz.drawing import NUMBERS, TEXTS, TYPED, VALUES, joined
from fuzz.kind import PARTS, Kind, WithStudy


def _options():
    """Every command with its options; what trains for long is left out."""
    from paribus.sweeps.cli.app import app

    return {
        name: [
            (option.opts[0], not (option.is_flag or option.count))
            for option in command.params
            if option.param_type_name == "option" and "--output" not in option.opts
        ]
        for name, command in app.commands.items()
        if name not in ("run", "check", "doctor")
    }


class Lines(WithStudy):
    """Command lines: any command, any words, any of its options, some that are none."""

    kept = (
        ["runs", "--root", "1" * 5000],
        ["studies", "--root", "/".join(["x" * 200] * 20)],
        ["runs", "a\x7f\x9b31mb\u202e", "x", "--json"],
        ["list", "a\udcff", "--json"],
    )

    quick = 50
    KEYS = st.one_of(
        st.sampled_from([
            "optimizer.lr", "lr", "model", "model.hidden_dim", "train.epochs", "train.batch_size",
            "data", "loss", "split.seed", "split.val_fraction", "split.folds", "task", "nonsense",
            "a.b.c.d", "",
            "metrics", "select.metric", "optimizer.lr.lr", "device", "*", "augment", "scheduler",
            "standardize", "train.start_from", "train.only", "data.root", "model.name", "optimizer",
        ]),
        TYPED,
    )  # fmt: skip
    LEVELS = st.one_of(
        TYPED,
        st.sampled_from([
            "1:2", "1:2:3", "1:2:log", "0:1:log:4", "2:1", "1:1", "nan:1", "1e-4:1e999:log", ":",
            "1,2,,3", "1,1", "os.system(command=ls)", "torch.nn.Linear", "adam(lr=1)", "mlp(",
            "{a: 1}", "{", "[" * 300, "{a: " * 100, "&a [*a]", "mlp()",
            "!!python/object/apply:os.system [ls]",
            "==", "1:2:100000000", "0:1e-320", "9" * 400, "1" * 5000, "(" * 200,
        ]),
    )  # fmt: skip
    PAIRS = st.tuples(KEYS, LEVELS).map("=".join)
    SUBJECTS = st.one_of(
        st.sampled_from([
            "line", "digits", "own.py", "study", "study/baseline-s0", "study/baseline-s9", "own-s0",
            "study/", "own", "evil", ".", "..", "/", "results", "results/runs",
        ]),
        TYPED,
    )  # fmt: skip

    @property
    def cases(self):
        options = _options()

        def words(name):
            given = st.sampled_from([*options[name], ("--nonsense", True), ("--json", False)])
            one = st.tuples(given, self.LEVELS).map(
                lambda pair: [pair[0][0], pair[1]] if pair[0][1] else [pair[0][0]]
            )
            return st.tuples(
                st.just([name]),
                st.lists(self.SUBJECTS, max_size=2),
                st.lists(self.PAIRS, max_size=3),
                st.lists(one, max_size=2).map(joined),
            ).map(joined)

        known = st.sampled_from(sorted(options)).flatmap(words)
        return st.one_of(known, known, known, st.lists(TYPED, max_size=3))

    def wrong(self, case):
        line = list(case)
        if line[:1] in (["sweep"], ["run"]):
            line = ["sweep", *line[1:], "--dry-run"]
        found = self.call(*line)
        if line[:1] == ["new"]:
            for path in self.work.glob("*.py"):
                if path.name not in ("own.py", "evil.py"):
                    path.unlink()
        return found


class Configurations(Kind):
    """Configuration values: typed, and those of an experiment's file."""

    quick = 30
    kept = (([("metrics", "evil.py:Net")], {}, None, "show"),)
    SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
    COMPONENTS = st.one_of(
        TEXTS,
        st.sampled_from(["mlp", "adam", "cross_entropy", "digits", "linear", "sgd", "multiclass"]),
        st.dictionaries(
            st.sampled_from(["name", "lr", "hidden_dim", "num_layers", "activation", "path", "x"]),
            st.one_of(SCALARS, VALUES),
        ),
        VALUES,
    )
    GROUPS = st.dictionaries(
        st.sampled_from([
            "epochs", "updates", "batch_size", "patience", "only", "start_from", "clip_grad_norm",
            "seed", "folds", "val_fraction", "test_fraction", "method", "metric", "direction",
            "eval_batch_size",
        ]),
        st.one_of(SCALARS, VALUES),
        max_size=3,
    )  # fmt: skip
    cases = st.tuples(
        st.lists(
            st.one_of(
                st.tuples(
                    st.sampled_from(["task", "data", "model", "loss", "optimizer", "scheduler"]),
                    COMPONENTS,
                ),
                st.tuples(st.sampled_from(["train", "split", "select"]), GROUPS),
                st.tuples(
                    st.sampled_from(["metrics", "augment", "standardize", "device", "script", "x"]),
                    VALUES,
                ),
                st.tuples(TEXTS, VALUES),
            ),
            max_size=3,
        ),
        st.dictionaries(Lines.KEYS, VALUES, max_size=2),
        st.one_of(st.none(), TEXTS),
        st.sampled_from(["show", "show", "sweep"]),
    )

    def wrong(self, case):
        changes, axes, question, command = case
        baseline = {**PARTS, "data": "digits", **dict(changes)}
        text = (
            f"'''{question}'''\n" if question and question.isidentifier() else ""
        ) + f"nan, inf = float('nan'), float('inf')\nBASELINE = {baseline!r}\nAXES = {axes!r}\n"
        (self.work / "own.py").write_bytes(text.encode("utf-8", "backslashreplace"))
        self.made.add(self.work / "own.py")
        return self.call(command, "own.py", *(["--dry-run"] if command == "sweep" else []))
