"""Writes a folder of models/ for a model that was trained elsewhere, once it has been converted, linted and tried there."""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pandas as pd

from models.config import METRICS, NAME, ModelConfig
from tools.modelctl import lifecycle
from tools.modelctl.built import Built
from tools.modelctl.data import INPUT, Split
from tools.modelctl.errors import BuildFailed, ModelctlError, UsageFailed, first_line
from tools.modelctl.frameworks import Context, ModelFile, child, onnx_files
from tools.modelctl.frameworks.files import Kind
from tools.modelctl.frameworks.probe import Probed, Tensor

__all__ = ["Wish", "bring", "name_of", "rows_of"]

_ROWS = 64  # that are made where none were given
_OPEN = 16  # for a dimension that is open
_MOST_MADE = 2**26  # numbers, which normal() makes as 8 bytes each
_MOST_CLASSES = 50
_MODULE = "network.py"
_UNFINISHED = ".import-"
_DAY = 86_400  # s


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person says of the model beside its file."""

    name: str
    task: str = ""
    """Empty where the model or the rows are to tell."""
    data: Path | None = None
    target: str | None = None
    labels: tuple[str, ...] = ()
    module: str = ""
    """`FILE.py:Class`, by the path of the file."""


def name_of(source: str) -> str:
    """A model's name, from its file or what MLflow calls it."""
    stem = re.split(r"[@/]", source.partition(":/")[2])[0] if source.startswith(("models:/", "runs:/")) else Path(source).resolve().stem
    found = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    if not NAME.fullmatch(found):
        raise UsageFailed(f"no name for a model can be made of {source!r}; give one: --name NAME")
    return found


def rows_of(data: Path, target: str | None) -> tuple[Any, Any]:
    """A table from CSV or Parquet, arrays by name from .npz; and the column or array that is to be predicted. Raises `UsageFailed`."""
    readers: dict[str, Callable[[Path], Any]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".npz": _arrays}
    if data.suffix.lower() not in readers:
        raise UsageFailed(f"{data} is of no kind that holds rows; expected .csv, .parquet or .npz")
    try:
        rows = readers[data.suffix.lower()](data)
    except (OSError, ValueError, ImportError) as error:
        raise UsageFailed(f"{data} can't be read as rows: {first_line(error)}; correct the file") from None
    if target is None:
        return rows, None
    if target not in rows:
        raise UsageFailed(f"{data} has no {target!r}; expected one of {', '.join(map(repr, map(str, rows)))} for --target")
    return {key: rows[key] for key in rows if key != target} if isinstance(rows, dict) else rows.drop(columns=target), rows[target]


def bring(kind: Kind, wish: Wish, *, models: Path, output: Path, tell: Callable[[str], None]) -> Built:
    """Leaves models/NAME, and its build in `output`, or nothing at all. Raises `ModelctlError`, `ModelConfigError`."""
    X, y = rows_of(wish.data, wish.target) if wish.data else (None, None)
    _tidy(models)
    with TemporaryDirectory(dir=models, prefix=_UNFINISHED) as scratch:
        folder = Path(scratch) / wish.name
        folder.mkdir()
        file = _copied(kind, wish, folder)
        try:
            known = _known(kind, wish, file, folder, tell)
            task = wish.task or _task(known, y)
            (folder / "model.toml").write_text(_toml(kind, wish, task, y), "utf-8")
            (folder / "train.py").write_text(_source(wish, task, file, known, X), "utf-8")
            built = lifecycle.build(ModelConfig.load(folder), models=folder.parent, output=Path(scratch) / "build", progress=tell)
        except ModelctlError as error:
            raise BuildFailed(f"{kind.path.name} was not imported: {str(error).replace(scratch, str(models))}") from error
        if built.findings:
            raise BuildFailed(f"{kind.path.name} was not imported, since it may not be served: {'; '.join(built.findings)}")
        return _moved(built, folder, models, output)


def _tidy(models: Path) -> None:
    """Deletes what imports that were killed have left, with the rows in it; a day is longer than any takes."""
    for left in models.glob(f"{_UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > _DAY:
            shutil.rmtree(left, ignore_errors=True)


def _moved(built: Built, folder: Path, models: Path, output: Path) -> Built:
    """The build before the folder: a build without one is nothing to anybody, a folder without its build looks imported."""
    target = output / folder.name
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(built.folder, target)
    folder.rename(models / folder.name)
    return Built(folder=target, manifest=built.manifest, cached=False, findings=built.findings)


def _copied(kind: Kind, wish: Wish, folder: Path) -> ModelFile:
    """Model, rows and network as the folder has them."""
    suffix = kind.path.suffix.lower() if re.fullmatch(r"\.\w+", kind.path.suffix) else ""
    path = folder / f"model{suffix}"
    if kind.path.is_dir():
        if any(inner.is_symlink() for inner in kind.path.rglob("*")):
            raise BuildFailed(f"{kind.path} has links in it, which may lead anywhere; put the files themselves there")
        shutil.copytree(kind.path, path)
    elif kind.adapter == "onnx_files":
        path = path.with_suffix(".onnx")
        onnx.save_model(onnx_files.examined(kind.path), path)  # as one file, whatever it was
    else:
        shutil.copyfile(kind.path, path)
    if wish.data:
        shutil.copyfile(wish.data, folder / f"rows{wish.data.suffix.lower()}")
    return ModelFile(path, module=_network(wish.module, folder) if wish.module else "")


def _network(module: str, folder: Path) -> str:
    name, _, kind = module.rpartition(":")
    if not name or not Path(name).is_file():
        raise UsageFailed(f"--module {module!r} names no file; expected FILE.py:Class, where Class() makes the network")
    shutil.copyfile(name, folder / _MODULE)
    return f"{_MODULE}:{kind}"


def _known(kind: Kind, wish: Wish, file: ModelFile, folder: Path, tell: Callable[[str], None]) -> Probed:
    """What the model says of itself, where that is needed."""
    if wish.task and wish.data:
        return Probed()
    tell(f"opening {kind.what}")
    if kind.adapter == "onnx_files":
        return onnx_files.probed(onnx.load_model(file.path))
    config = ModelConfig(name=wish.name, task="custom")
    return child.probed(file, kind.adapter, Context(config=config, rows=Split(None, None, None, None), folder=folder, module=file.module))


def _task(known: Probed, y: Any) -> str:
    if known.task not in {"", "custom"} or y is None:
        return known.task or "custom"
    values = np.asarray(y)
    whole = values.dtype.kind not in "fc" or bool(np.all(values == np.round(values)))
    return "classification" if values.dtype.kind in "OUSb" or (whole and len(np.unique(values)) <= _MOST_CLASSES) else "regression"


def _toml(kind: Kind, wish: Wish, task: str, y: Any) -> str:
    lines = [f'task = "{task}"', f"description = {_toml_text(f'Brought by modelctl import from {kind.path.name}.')}"]
    if wish.labels:
        lines.append(f"labels = {_toml_text(list(wish.labels))}")
    if y is None and task != "clustering":
        lines += ["", "# Nothing is scored: load() in train.py makes its rows. Let it answer real ones with their y, then set gates here."]
    elif METRICS[task]:
        lines += [
            *("", "# What held-out rows must reach, or the model is not published. Rows that it was trained on elsewhere flatter it."),
            *(f"# {', '.join(METRICS[task])}", f"# gates = [{_toml_text(_GATES[task])}]"),
        ]
    return "\n".join([*lines, ""])


_GATES = {"classification": "f1 >= 0.9", "regression": "r2 >= 0.8", "clustering": "silhouette >= 0.5"}


def _source(wish: Wish, task: str, file: ModelFile, known: Probed, X: Any) -> str:
    """A train.py that is read as if a person had written it."""
    load, kinds = _load_given(wish, known, X) if wish.data else _load_made(task, known)
    answered = f"HERE / {_quoted(file.path.name)}"
    if file.module:
        answered = f"ModelFile({answered}, module={_quoted(file.module)})"
    imports = ["from pathlib import Path", ""]
    imports += (
        ["import numpy as np", *(["import pandas as pd"] if "pd." in kinds + load else [])]
        if "np." in kinds + load
        else ["import pandas as pd"]
    )
    if file.module:
        imports += ["", "from tools.modelctl.frameworks import ModelFile"]
    x_kind, y_kind = kinds.split("; ")
    answer_kind = "ModelFile" if file.module else "Path"
    return _TEMPLATE.format(
        rows="rows that came with it" if wish.data else "made rows, since none came with it",
        imports="\n".join(imports),
        x=x_kind,
        y=y_kind,
        load=load,
        answer=answer_kind,
        answered=answered,
    )


_TEMPLATE = '''"""A model that was trained elsewhere, with {rows}."""

{imports}

HERE = Path(__file__).parent


def load() -> tuple[{x}, {y}]:
{load}


def train(X: {x}, y: {y}) -> {answer}:  # noqa: ARG001 - trained elsewhere
    """The model as it came; modelctl opens it in a process of its own."""
    return {answered}
'''


def _load_given(wish: Wish, known: Probed, X: Any) -> tuple[str, str]:
    assert wish.data is not None  # asked by the caller
    file, target = f'HERE / "rows{wish.data.suffix.lower()}"', wish.target
    if isinstance(X, dict):
        single = next(iter(X)) if len(X) == 1 else None
        body = [f"    rows = np.load({file}, allow_pickle=False)"]
        x = f"rows[{_quoted(single)}]" if single else f"{{name: rows[name] for name in {_quoted(list(X))}}}"
        y = f"rows[{_quoted(target)}]" if target else "None"
        kind = "np.ndarray" if single else "dict[str, np.ndarray]"
        return "\n".join(
            ['    """The arrays that came with it."""', *body, f"    return {x}, {y}"]
        ), f"{kind}; {'np.ndarray' if target else 'None'}"
    _fits(known, X)
    reader = "read_parquet" if wish.data.suffix.lower() == ".parquet" else "read_csv"
    x = "rows" if target is None else f"rows.drop(columns={_quoted(target)})"
    if known.columns and list(known.columns) != list(map(str, X.columns)):
        x = f"rows[{_quoted(list(known.columns))}]"
    y = f"rows[{_quoted(target)}].to_numpy()" if target else "None"
    lines = ['    """The rows that came with it."""', f"    rows = pd.{reader}({file})", f"    return {x}, {y}"]
    return "\n".join(lines), f"pd.DataFrame; {'np.ndarray' if target else 'None'}"


def _fits(known: Probed, X: Any) -> None:
    """Raises `UsageFailed` for columns that the model was not trained on."""
    if missing := [name for name in known.columns if name not in X.columns]:
        raise UsageFailed(
            f"the rows lack {', '.join(missing)}, which the model was trained on; expected these columns: {', '.join(known.columns)}"
        )
    width = known.inputs[0].shape if len(known.inputs) == 1 and not known.columns else ()
    if len(width) == 1 and width[0] not in {-1, X.shape[1]}:
        raise UsageFailed(
            f"the rows have {X.shape[1]} columns ({', '.join(map(str, X.columns))}), and the model takes {width[0]}; is --target right?"
        )


def _load_made(task: str, known: Probed) -> tuple[str, str]:
    """Raises `UsageFailed` for a model whose rows can't be made from what it says of itself."""
    if task == "clustering":
        raise UsageFailed("clusters are judged by the distances between rows; give some: --data FILE")
    if not known.inputs or known.is_table:
        columns = f" with the columns {', '.join(known.columns)}" if known.columns else ""
        raise UsageFailed(f"what a row of it is can't be known from the file; give some{columns}: --data FILE.csv --target COLUMN")
    made = {tensor.name: _made(tensor) for tensor in known.inputs}
    head = ['    """Made of noise in the shape that the model takes, to convert and try it; put real rows with their y in their place."""']
    if any("random." in values for values in made.values()):
        head.append("    random = np.random.default_rng(0)")
    if len(made) == 1 and (task != "custom" or INPUT in made):
        return "\n".join([*head, f"    return {next(iter(made.values()))}, None"]), "np.ndarray; None"
    items = [f"        {_quoted(name)}: {values}," for name, values in made.items()]
    return "\n".join([*head, "    X = {", *items, "    }", "    return X, None"]), "dict[str, np.ndarray]; None"


def _made(tensor: Tensor) -> str:
    """Raises `UsageFailed` for rows that would take more memory than is worth making noise in."""
    shape = (_ROWS, *(_OPEN if size < 0 else size for size in tensor.shape))
    if math.prod(shape) > _MOST_MADE:
        raise UsageFailed(f"rows of the shape {shape} are more than is made of noise; give some of its own: --data FILE")
    if tensor.dtype == "object":
        return f'np.full({shape}, "", dtype=object)'
    if tensor.dtype.startswith("float"):
        return f"random.normal(size={shape}).astype(np.{tensor.dtype})"
    return f"random.integers(0, 2, {shape}).astype(np.{tensor.dtype if tensor.dtype != 'bool' else 'bool_'})"


def _arrays(path: Path) -> Mapping[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _toml_text(value: Any) -> str:
    """JSON's escapes are TOML's, which has longer ones for what can't be seen."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text)


def _quoted(value: Any) -> str:
    """As Python and ruff write it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_quoted, value))}]"
    return repr(value) if '"' in value or not value.isprintable() else json.dumps(value, ensure_ascii=False)
