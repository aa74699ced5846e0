"""Cross-validation: how much a score owes to which rows happened to be held out."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold

from models.config import ModelConfig
from tools.modelctl import evaluate, parity
from tools.modelctl.data import Split
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import Context, ModelFile, adapt
from tools.modelctl.lifecycle import Progress, fit
from tools.modelctl.source import Source

__all__ = ["cross_validate"]


def cross_validate(config: ModelConfig, source: Source, folds: int, progress: Progress) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each metric over `folds` fits, each scored on rows that it has not seen.

    Scores the estimator before its conversion. Raises `TrainFailed`, `BuildFailed`.
    """
    X, y = source.load()
    if config.task == "custom" or (y is None and config.task != "clustering"):
        raise BuildFailed(
            f"nothing scores {config.name}, so that there is nothing to cross-validate; answer y in load() for a task that has one"
        )
    kind = StratifiedKFold if config.task == "classification" else KFold
    scores = []
    try:
        splits = list(kind(folds, shuffle=True, random_state=config.data.seed).split(X, y))
    except ValueError as error:
        raise BuildFailed(f"{config.name} can't be split into {folds} folds: {error}") from None
    for number, (seen, unseen) in enumerate(splits, start=1):
        progress(f"fold {number} of {folds}")
        rows = Split(_rows(X, seen), _rows(y, seen), _rows(X, unseen), _rows(y, unseen))
        trained = fit(source, rows.X, rows.y)
        if isinstance(trained, Path | ModelFile):
            raise BuildFailed(
                f"{config.name} was trained elsewhere, so that each fold would score the same model, on rows that it may know; "
                "leave --folds out, or let train() fit a model"
            )
        estimator = adapt(trained, Context(config=config, rows=rows, folder=source.file.parent))
        answers = parity.original(config.task, estimator, rows.held_out_X)
        space = evaluate.space(estimator, rows.held_out_X)
        scores.append(evaluate.score(config.task, space, rows.held_out_y, answers, known=y, labels=config.labels))
    # What isn't defined for the rows of one fold has no mean over folds.
    everywhere = [name for name in scores[0] if all(name in score for score in scores)]
    return {name: (fmean(found), stdev(found)) for name in everywhere if (found := [score[name] for score in scores])}


def _rows(values: Any, index: Any) -> Any:
    if values is None:
        return None
    return values.iloc[index] if isinstance(values, pd.DataFrame | pd.Series) else np.asarray(values)[index]
