"""The same runs with Lightning, as its documentation begins: for `study100`, where it is installed.

pip install lightning
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from loops import DIGITS, Part, Train


def lightning(train_part: Part, val_part: Part, folder: Path) -> Train:
    """Lightning's trainer with Optuna, W&B offline, torchmetrics and its checkpoint callback."""
    import lightning as L
    import optuna
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import WandbLogger
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    from torchmetrics import MetricCollection
    from torchmetrics.classification import (
        MulticlassAccuracy,
        MulticlassF1Score,
        MulticlassPrecision,
        MulticlassRecall,
    )

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=f"sqlite:///{folder}/study.db", direction="maximize")

    class Net(L.LightningModule):  # type: ignore[misc]
        def __init__(self, lr: float, dropout: float, weight_decay: float) -> None:
            super().__init__()
            self.lr, self.weight_decay = lr, weight_decay
            self.net = nn.Sequential(
                nn.Linear(64, DIGITS.hidden_dim),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(DIGITS.hidden_dim, 10),
            )
            self.loss = nn.CrossEntropyLoss()
            self.found = MetricCollection(
                {
                    "val/accuracy": MulticlassAccuracy(10, average="micro"),
                    "val/precision": MulticlassPrecision(10),
                    "val/recall": MulticlassRecall(10),
                    "val/f1": MulticlassF1Score(10),
                }
            )

        def training_step(self, batch: Any, _: int) -> Any:
            loss = self.loss(self.net(batch[0]), batch[1])
            self.log("train/loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, _: int) -> None:
            outputs = self.net(batch[0])
            self.found.update(outputs, batch[1])
            self.log("val/loss", self.loss(outputs, batch[1]))
            self.log_dict(self.found)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def train(seed: int, lr: float, dropout: float, weight_decay: float) -> float:
        L.seed_everything(seed, verbose=False)
        trial = study.ask()
        best = ModelCheckpoint(folder / "best", f"{trial.number}", "val/accuracy", mode="max")
        logger = WandbLogger(project="digits", save_dir=folder, offline=True)
        trainer = L.Trainer(
            max_epochs=DIGITS.epochs,
            accelerator="cpu",
            logger=logger,
            callbacks=[best],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(
            Net(lr, dropout, weight_decay),
            DataLoader(TensorDataset(*train_part), batch_size=DIGITS.batch_size, shuffle=True),
            DataLoader(TensorDataset(*val_part), batch_size=1000),
        )
        logger.experiment.finish()
        assert best.best_model_score is not None
        found = float(best.best_model_score)
        study.tell(trial, found)
        return found

    return train
