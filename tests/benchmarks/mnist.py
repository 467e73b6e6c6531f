"""An epoch of MNIST's size: against the classic script, and against a loop that indexes tensors.

    python tests/benchmarks/mnist.py [--repeats 3]

60 000 images of 784 pixels to train on, 12 000 to validate on, as the experiment mnist draws them;
784-128-10 with dropout 0.2 and relu, cross entropy, Adam 1e-3, batches of 64; one epoch with
validation, in one process with one thread. The time begins before the model is built; drawing the
images, imports and planning are not in it.

1. harness: a run with everything but W&B. Metrics, hashes and confusion matrix, record, best
   weights, predictions, manifest.
2. indexed: the images normalized once, in memory; a permutation of their rows; default Adam.
3. classic: a DataLoader over images of bytes with ToTensor and Normalize for each, as tutorials
   have it.

It fails where the ways differ in optimizer steps or, by more than a point, in mean validation
accuracy. About two minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from measure import in_turn, surroundings, table  # noqa: E402

from paribus.core.runtime import restart_pinned, settle  # noqa: E402

IMAGES = 84_000  # of which the experiment trains on five sevenths
HIDDEN_DIM, DROPOUT, LR, BATCH_SIZE, EVAL_BATCH_SIZE = 128, 0.2, 1e-3, 64, 1000
POINTS = 0.01  # by which the mean accuracies may differ

Train = Callable[[int], tuple[int, float]]  # seed to optimizer steps and validation accuracy


def main() -> None:
    """Measures the ways in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="of each way, >= 3")
    options = parser.parse_args()
    restart_pinned()
    settle()
    from paribus.experiments.mnist import drawn

    parts = drawn(IMAGES)
    trains = {"harness": harness(), "indexed": indexed(parts), "classic": classic(parts)}
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in trains}

    def timed(name: str) -> Callable[[int], float]:
        def way(repeat: int) -> float:
            started = time.perf_counter()
            found[name].append(trains[name](repeat))
            return time.perf_counter() - started

        return way

    print(table(in_turn({n: timed(n) for n in trains}, options.repeats), "s", "harness"))
    print(surroundings())
    assert len({steps for runs in found.values() for steps, _ in runs}) == 1, found
    means = {
        name: statistics.mean(accuracy for _, accuracy in runs) for name, runs in found.items()
    }
    print("accuracy: " + ", ".join(f"{name} {mean:.4f}" for name, mean in means.items()))
    assert max(means.values()) - min(means.values()) <= POINTS, means


def harness() -> Train:
    """Way 1."""
    from paribus.core.config.experiment import find_experiment, load_experiment
    from paribus.core.fileio import read_json
    from paribus.core.training.job import resolver_for_file, train_job
    from paribus.core.training.resolve import Resolver
    from paribus.sweeps.study.settings import apply_overrides

    path = find_experiment("mnist")
    experiment = load_experiment(path)
    overrides = (f"data.images={IMAGES}", "train.epochs=1")
    asked = apply_overrides(experiment.baseline, overrides, experiment)
    resolver: Resolver = resolver_for_file(path)
    resolver.data(asked, 0)

    def train(seed: int) -> tuple[int, float]:
        run = resolver.specify(asked, seed)
        with tempfile.TemporaryDirectory() as folder:
            assert list(train_job((run,), {run.id: Path(folder)}, 5.0))[-1].ended == "complete"
            record = read_json(Path(folder, "run.json"))
        return record["facts"]["updates"], record["best"]["metrics"]["val/accuracy"]

    return train


def indexed(parts: dict[str, Any]) -> Train:
    """Way 2."""
    import torch

    from paribus.experiments.mnist import DEVIATION, MEAN

    (train_x, train_y), (val_x, val_y) = (
        ((torch.from_numpy(pixels).float() / 255 - MEAN) / DEVIATION, torch.from_numpy(digits))
        for pixels, digits in (parts["train"], parts["val"])
    )

    def train(seed: int) -> tuple[int, float]:
        torch.manual_seed(seed)
        model, loss_function, optimizer = network()
        order = torch.randperm(len(train_x))
        model.train()
        steps = 0
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            optimizer.zero_grad()
            loss_function(model(train_x[rows]), train_y[rows]).backward()
            optimizer.step()
            steps += 1
        model.eval()
        correct = 0
        with torch.no_grad():
            for start in range(0, len(val_x), EVAL_BATCH_SIZE):
                rows = slice(start, start + EVAL_BATCH_SIZE)
                outputs = model(val_x[rows])
                loss_function(outputs, val_y[rows]).item()
                correct += (outputs.argmax(1) == val_y[rows]).sum().item()
        return steps, correct / len(val_x)

    return train


def classic(parts: dict[str, Any]) -> Train:
    """Way 3."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from paribus.experiments.mnist import DEVIATION, MEAN

    to_input = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((MEAN,), (DEVIATION,))]
    )

    class Digits(Dataset[Any]):
        """As torchvision's MNIST reads its own."""

        def __init__(self, pixels: Any, digits: Any) -> None:
            self.pixels, self.digits = torch.from_numpy(pixels), torch.from_numpy(digits)

        def __len__(self) -> int:
            return len(self.digits)

        def __getitem__(self, row: int) -> tuple[Any, int]:
            image = Image.fromarray(self.pixels[row].numpy(), mode="L")
            return to_input(image), int(self.digits[row])

    train_part, val_part = Digits(*parts["train"]), Digits(*parts["val"])

    def train(seed: int) -> tuple[int, float]:
        torch.manual_seed(seed)
        model, loss_function, optimizer = network()
        model.train()
        steps = 0
        for inputs, targets in DataLoader(train_part, BATCH_SIZE, shuffle=True):
            optimizer.zero_grad()
            loss_function(model(inputs), targets).backward()
            optimizer.step()
            steps += 1
        model.eval()
        correct = 0
        with torch.no_grad():
            for inputs, targets in DataLoader(val_part, EVAL_BATCH_SIZE):
                outputs = model(inputs)
                loss_function(outputs, targets).item()
                correct += (outputs.argmax(1) == targets).sum().item()
        return steps, correct / len(val_part)

    return train


def network() -> tuple[Any, Any, Any]:
    """784-128-10, its loss and its optimizer."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, HIDDEN_DIM), nn.ReLU(), nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN_DIM, 10),
    )  # fmt: skip
    return model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=LR)


if __name__ == "__main__":
    main()
