"""The command that makes a folder of models/ of a model that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models.config import NAME, ModelConfigError
from tools.modelctl import paths, tables
from tools.modelctl.console import next_step, note, out, print_json, steps
from tools.modelctl.errors import UsageFailed
from tools.modelctl.options import Json

if TYPE_CHECKING:
    from tools.modelctl.bring import Wish
    from tools.modelctl.built import Built

__all__ = ["import_model"]


def import_model(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or folder, or `models:/NAME@ALIAS` or `runs:/RUN/PATH` of MLflow.")],
    *,
    name: Annotated[str | None, typer.Option("--name", help="Of the model; from PATH unless given.")] = None,
    task: Annotated[
        Literal["classification", "regression", "clustering", "custom"] | None,
        typer.Option("--task", help="Told by the model or the rows, unless given; `custom` keeps its inputs and outputs."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", exists=True, dir_okay=False, help="Rows to score it on: .csv, .parquet or .npz.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="COLUMN", help="What it predicts, in --data.")] = None,
    labels: Annotated[str, typer.Option("--labels", metavar="A,B,C", help="Class names in the order of its probabilities.")] = "",
    module: Annotated[
        str, typer.Option("--module", metavar="FILE.py:Class", help="Makes the network of PyTorch that PATH has the weights of.")
    ] = "",
    tracking_uri: Annotated[str | None, typer.Option("--tracking-uri", help="Of MLflow; MLFLOW_TRACKING_URI unless given.")] = None,
    as_json: Json = False,
) -> None:
    """Bring a model that was trained elsewhere: ONNX, scikit-learn, PyTorch, Keras, XGBoost, LightGBM or MLflow.

    Writes models/NAME only once the model is converted, compared with the original, linted and tried. Example:
    `modelctl import churn.joblib --data churn.csv --target left`
    """
    with steps(path) as begin, TemporaryDirectory() as fetched:
        begin("starting the converters")
        from tools.modelctl import bring  # noqa: PLC0415 - takes two seconds to import
        from tools.modelctl.frameworks import files  # noqa: PLC0415

        wish = bring.Wish(
            name=name or bring.name_of(path),
            task=task or "",
            data=data,
            target=target,
            labels=tuple(filter(None, map(str.strip, labels.split(",")))),
            module=module,
        )
        _check(wish)
        begin("looking at what it is")
        kind = files.recognise(_fetched(path, tracking_uri, Path(fetched)))
        files.warn(kind)
        built = bring.bring(kind, wish, models=paths.MODELS, output=paths.BUILD, tell=begin)
    if as_json:
        print_json(_document(built))
    else:
        _show(built, wish)


def _check(wish: Wish) -> None:
    """Before anything is opened."""
    folder = paths.MODELS / wish.name
    if not NAME.fullmatch(wish.name):
        expected = "a lower-case letter, then lower-case letters, digits or _, at most 48 characters in all"
        raise ModelConfigError(folder / "model.toml", [("(folder name)", wish.name, expected)])
    if folder.exists():
        raise UsageFailed(f"{folder} is there already; expected a new name (--name NAME), or delete that folder first")
    if wish.target and not wish.data:
        raise UsageFailed(f"--target {wish.target} names a column of --data, which is not given; give both, or neither")


def _fetched(path: str, tracking_uri: str | None, to: Path) -> Path:
    from tools.modelctl.frameworks import mlflow_store  # noqa: PLC0415 - as above

    return mlflow_store.fetch(path, tracking_uri, to) if mlflow_store.is_uri(path) else Path(path)


def _show(built: Built, wish: Wish) -> None:
    name = built.manifest.name
    if built.manifest.metrics:
        out.print(tables.metrics(built.manifest))
    lineage = built.manifest.lineage
    out.print(f"Wrote models/{name} ({lineage.framework if lineage else ''}, {built.model.stat().st_size:,} bytes as ONNX)", soft_wrap=True)
    for failure in built.failures:
        note(failure)
    if wish.data:
        note(f"the rows were copied to models/{name}; leave them out of your repository where they are nobody else's business")
    if not built.manifest.metrics:
        note(
            "no rows with a target came with it, so nothing is scored and no gate can hold it back: it was compared with the original on "
            f"noise alone. Let load() in models/{name}/train.py answer real rows, or import it again with --data FILE --target COLUMN"
        )
    next_step(f"modelctl evaluate {name}" if built.manifest.metrics or built.failures else f"modelctl publish {name}")


def _document(built: Built) -> dict[str, object]:
    manifest = built.manifest
    return {
        "name": manifest.name,
        "task": manifest.task,
        "framework": manifest.lineage.framework if manifest.lineage else "",
        "inputs": manifest.inputs,
        "outputs": manifest.outputs,
        "labels": manifest.labels,
        "metrics": manifest.metrics,
        "parity": manifest.parity,
        "failures": built.failures,
        "folder": str(paths.MODELS / manifest.name),
        "model": str(built.model),
    }
