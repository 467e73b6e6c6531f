"""A finished run's model as ONNX, and what has to be done with inputs before it."""

import io
import warnings
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from paribus.core.components.adapter import Adapter
from paribus.core.components.models import model_outputs
from paribus.core.data.arrays import Scaling
from paribus.core.data.prepare import PartName
from paribus.core.data.texts import PADDING, TOKEN, UNKNOWN
from paribus.core.errors import RequestError, shown
from paribus.core.inference.evaluate import reopened, trained_model

_AS_IT_IS = "In Python, load_run(…).model() gives it as it is."
TOLERANCE = 1e-4  # between outputs; relative where they are larger than 1


class Exported(NamedTuple):
    """The content of an ONNX file, its inputs and outputs, and how it was checked."""

    content: bytes
    schema: dict[str, Any]
    examples: int  # that it was checked on
    difference: float  # the largest one of outputs
    metrics: dict[str, tuple[float | None, float | None]]  # by PyTorch, by onnxruntime
    precision: str  # that PyTorch computes in; ONNX does in fp32


class _Whole(nn.Module):
    """A model as it is called, with its standardization before it, in float64 as in training."""

    mean: Tensor
    scale: Tensor

    def __init__(self, call: Adapter, scaling: Scaling | None, dimensions: int) -> None:
        super().__init__()
        self.call, self.model, shape = call, call.model, (-1, *[1] * (dimensions - 2))
        self.scaled = scaling is not None
        for name, values in (scaling or {}).items():
            self.register_buffer(name, torch.tensor(values).double().reshape(shape))

    def forward(self, inputs: Tensor) -> Any:
        if self.scaled:
            inputs = ((inputs.double() - self.mean) / self.scale).float()
        return self.call(inputs)


def export_run(path: Path, trust: bool = False) -> Exported:
    """Export the best checkpoint of the run in a folder, checked on its validation part.

    A final run, which has none, is checked on its training part.

    Raises:
        DamagedError: If a file of the run, or the data, is not what it was.
        RequestError: If the model cannot be exported, or answers otherwise then, or a library that
            this needs is not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RequestError(f"{error}.", "Give: pip install 'paribus[onnx]'") from error
    run, resolver, data, weights = reopened(path, trust)
    task, call = trained_model(run, weights)
    recipe: dict[str, Any] = dict(data.preprocessing)
    name: PartName = "val" if len(data.val) else "train"
    part, raw = data.part(name), data.part(name)
    # Columns that float32 cannot keep are standardized before.
    scaling = None if "dtype" in recipe else recipe.pop("standardize")
    if scaling:
        plain = run.requested.model_copy(update={"standardize": False, "augment": None})
        raw = resolver.data(plain, run.seed).part(name)
    size = run.configuration["train"]["eval_batch_size"]
    inputs = [batch for batch, _ in raw.batches(size)]
    if not isinstance(inputs[0], Tensor):
        raise RequestError(
            f"{run.id}: its inputs are several tensors, and one is exported.", _AS_IT_IS
        )
    # onnxruntime has few operations in half precision, and PyTorch's rounding is not theirs.
    full, cpu = replace(call, dtype=None), torch.device("cpu")
    predicted, expected = (
        model_outputs(each, (x for x, _ in part.batches(size)), cpu) for each in (call, full)
    )
    shape: list[Any] = list(inputs[0].shape)
    module = _Whole(full, scaling, len(shape)).eval()
    free = (0, 1) if "text" in recipe else (0,)  # dimensions of any size
    example = inputs[0][:1].repeat(2, *[1] * (len(shape) - 1))  # of one, that size is fixed
    try:
        # Where torch cannot export a model it prints all of it.
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
            program: Any = torch.onnx.export(
                module, (example,), dynamo=True, verbose=False,
                input_names=["inputs"], output_names=["outputs"],
                dynamic_shapes=(dict.fromkeys(free, torch.export.Dim.DYNAMIC),),
            )  # fmt: skip
        content = program.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content)
        found = [session.run(None, {"inputs": batch.numpy()})[0] for batch in inputs]
        outputs = torch.from_numpy(np.concatenate(found)).float()
        difference = float(((outputs - expected).abs() / expected.abs().clamp(min=1)).max())
        if not difference <= TOLERANCE:
            raise ValueError(f"as ONNX its outputs differ by {difference:.2g}")
    except Exception as error:
        why = shown(str(error.__cause__ or error).strip().split("\n")[0], 300).rstrip(".")
        raise RequestError(
            f"{run.id}: model {run.configuration['model']['name']} cannot be exported: {why}.",
            _AS_IT_IS,
        ) from error
    ours, theirs = (task.measure(each, part.targets) for each in (predicted, outputs))
    named = ["N", "T"][: len(free)] + shape[len(free) :]
    if "text" in recipe:  # ids of words follow, in their order
        ids = {"token": TOKEN.pattern, "padding": PADDING, "unknown": UNKNOWN}
        recipe["text"] = {**recipe["text"], **ids}
    schema = {
        "run": run.id,
        "task": run.configuration["task"]["name"],
        "input": {"name": "inputs", "type": str(example.dtype)[6:], "shape": named},
        "output": {"name": "outputs", "classes": recipe.pop("class_names")},
        "before": recipe,
        "inside": {"standardize": scaling},
    }
    metrics = {f"{name}/{key}": (value, theirs[key]) for key, value in ours.items()}
    precision = run.configuration["train"].get("precision") or "fp32"
    return Exported(content, schema, len(outputs), difference, metrics, precision)
