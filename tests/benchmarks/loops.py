"""The loops that people write by hand, for the benchmarks to be held against.

One hidden layer with relu, cross entropy, Adam, validation after each epoch; one run is given by
its seed, learning rate, dropout and weight decay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Problem:
    """An experiment of the catalogue, as its baseline is trained."""

    experiment: str
    inputs: int
    hidden_dim: int
    outputs: int
    batch_size: int
    epochs: int
    lr: float
    dropout: float


DIGITS = Problem("digits", 64, 128, 10, 64, 20, 1e-3, 0.2)
WINE = Problem("wine", 13, 32, 3, 16, 30, 1e-2, 0.0)

Part = tuple[Any, Any]  # inputs and targets, in memory
Train = Callable[[int, float, float, float], float]  # a run to its best validation accuracy


def bare(train_part: Part, val_part: Part, problem: Problem = DIGITS) -> Train:
    """The loop of a tutorial. Keeps nothing."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    def train(seed: int, lr: float, dropout: float, weight_decay: float) -> float:
        torch.manual_seed(seed)
        train_loader = DataLoader(
            TensorDataset(*train_part), batch_size=problem.batch_size, shuffle=True
        )
        val_loader = DataLoader(TensorDataset(*val_part), batch_size=1000)
        model = nn.Sequential(
            nn.Linear(problem.inputs, problem.hidden_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(problem.hidden_dim, problem.outputs),
        )
        loss_function = nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
        best = 0.0
        for _ in range(problem.epochs):
            model.train()
            for inputs, targets in train_loader:
                optimizer.zero_grad()
                loss_function(model(inputs), targets).backward()
                optimizer.step()
            model.eval()
            total, correct = 0.0, 0
            with torch.no_grad():
                for inputs, targets in val_loader:
                    outputs = model(inputs)
                    total += loss_function(outputs, targets).item() * len(targets)
                    correct += (outputs.argmax(1) == targets).sum().item()
            best = max(best, correct / len(val_part[1]))
        return best

    return train


def by_hand(train_part: Part, val_part: Part, folder: Path, problem: Problem = DIGITS) -> Train:
    """The same with what people put around it: Optuna (SQLite), W&B offline, torchmetrics, files.

    Args:
        train_part: To train on.
        val_part: To validate on.
        folder: For everything that is kept.
        problem: What is trained.
    """
    import optuna
    import torch
    import wandb
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    from torchmetrics import MetricCollection
    from torchmetrics.classification import (
        MulticlassAccuracy,
        MulticlassConfusionMatrix,
        MulticlassF1Score,
        MulticlassPrecision,
        MulticlassRecall,
    )

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=f"sqlite:///{folder}/study.db", direction="maximize")

    def train(seed: int, lr: float, dropout: float, weight_decay: float) -> float:
        torch.manual_seed(seed)
        trial = study.ask()
        asked = {"seed": seed, "lr": lr, "dropout": dropout, "weight_decay": weight_decay}
        tracked = wandb.init(project=problem.experiment, dir=folder, config=asked)
        train_loader = DataLoader(
            TensorDataset(*train_part), batch_size=problem.batch_size, shuffle=True
        )
        val_loader = DataLoader(TensorDataset(*val_part), batch_size=1000)
        model = nn.Sequential(
            nn.Linear(problem.inputs, problem.hidden_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(problem.hidden_dim, problem.outputs),
        )
        loss_function = nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(problem.outputs, average="micro"),
                "precision": MulticlassPrecision(problem.outputs),
                "recall": MulticlassRecall(problem.outputs),
                "f1": MulticlassF1Score(problem.outputs),
                "confusion_matrix": MulticlassConfusionMatrix(problem.outputs),
            }
        )
        best = 0.0
        for epoch in range(problem.epochs):
            model.train()
            for inputs, targets in train_loader:
                optimizer.zero_grad()
                loss_function(model(inputs), targets).backward()
                optimizer.step()
            model.eval()
            total = 0.0
            metrics.reset()
            with torch.no_grad():
                for inputs, targets in val_loader:
                    outputs = model(inputs)
                    total += loss_function(outputs, targets).item() * len(targets)
                    metrics.update(outputs, targets)
            found = metrics.compute()
            found.pop("confusion_matrix")
            values = {name: value.item() for name, value in found.items()}
            tracked.log({"epoch": epoch, "val/loss": total / len(val_part[1]), **values})
            trial.report(values["accuracy"], epoch)
            if values["accuracy"] > best:
                best = values["accuracy"]
                torch.save(model.state_dict(), folder / f"best-{trial.number}.pt")
        study.tell(trial, best)
        tracked.finish()
        return best

    return train
