"""Networks of PyTorch: a Module, an ExportedProgram or a ScriptModule, from train() or from a file."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tools.modelctl.convert import OPSETS
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.frameworks import Context, extra
from tools.modelctl.frameworks.advice import advise
from tools.modelctl.frameworks.beside import made_by
from tools.modelctl.frameworks.nets import Net, Tensors, inputs, quiet
from tools.modelctl.frameworks.operators import check_torch

__all__ = ["adapt", "load"]

_NESTED = ("state_dict", "model_state_dict")
"""Where a checkpoint keeps its weights beside an optimizer's."""


def adapt(trained: Any, context: Context) -> Net:
    """A Module as it predicts (eval mode, on the CPU), or a program as it was exported. Raises `BuildFailed`."""
    torch = extra("torch", "torch")
    extra("torch", "onnxscript")
    net = getattr(trained, "_orig_mod", trained)  # what torch.compile made it of
    if isinstance(net, torch.nn.Module):
        net = net.cpu().eval()
        call: Any = net
        kinds: list[Any] = [np.float64 if _is_double(torch, net) else np.float32]
    elif isinstance(net, torch.export.ExportedProgram):
        call = net.module()
        kinds = [np.float32, np.float64]
    else:
        raise BuildFailed(f"train() answered a {type(net).__name__} of PyTorch; expected a Module, an ExportedProgram or a ScriptModule")
    forward = partial(_forward, torch, call, _fixed_rows(torch, net))
    return Net(
        framework=f"torch {torch.__version__.partition('+')[0]}",
        context=context,
        takes=lambda X: inputs(_in_order(net, X), (*kinds, np.int64), forward),
        forward=forward,
        export=partial(_export, torch, net),
    )


def load(path: Path, context: Context) -> Any:
    """A TorchScript file, an exported program (.pt2), or weights for the network that `context.module` names.

    Nothing is unpickled but tensors. Raises `BuildFailed`.
    """
    torch = extra("torch", "torch")
    check_torch(path)
    with _quiet(torch):
        try:
            if _is_script(path):
                return torch.jit.load(path, map_location="cpu")
            if _is_program(path):
                return torch.export.load(path)
            weights = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise BuildFailed(
                f"{path.name} holds Python objects, which run code as they are opened ({first_line(error, named=True)}); save the "
                "state_dict() and give its class as --module FILE.py:Class, or save it by torch.export.save"
            ) from error
        except Exception as error:  # PyTorch's own have no common base
            raise BuildFailed(
                f"{path.name} is no file of PyTorch that can be opened: {first_line(error, named=True)}; save it again"
            ) from error
    return _with_weights(torch, weights, path, context)


def _with_weights(torch: Any, weights: Any, path: Path, context: Context) -> Any:
    weights = next((weights[key] for key in _NESTED if isinstance(weights, Mapping) and key in weights), weights)
    if not isinstance(weights, Mapping) or not all(isinstance(each, torch.Tensor) for each in weights.values()):
        raise BuildFailed(f"{path.name} holds a {type(weights).__name__}; expected a state_dict(), tensors by name")
    if not context.module:
        raise BuildFailed(f"{path.name} holds weights without their network; give its class as --module FILE.py:Class")
    if all(name.startswith("module.") for name in weights):  # as DataParallel names them
        weights = {name.removeprefix("module."): each for name, each in weights.items()}
    net = made_by(context.module, context.folder)
    if not isinstance(net, torch.nn.Module):
        raise BuildFailed(f"{context.module} made a {type(net).__name__}; expected a torch.nn.Module")
    try:
        net.load_state_dict(weights, strict=True)
    except RuntimeError as error:  # its lines name missing and unexpected keys, and sizes that differ
        told = "; ".join(line.strip().rstrip(".") for line in str(error).splitlines()[1:])
        raise BuildFailed(
            f"the weights in {path.name} are not those of {context.module}: {told}; give the class they were saved from"
        ) from error
    return net


def _is_program(path: Path) -> bool:
    return path.suffix == ".pt2" or any(name.endswith("/archive_format") for name in _members(path))


def _is_script(path: Path) -> bool:
    return any(name.partition("/")[2].startswith("code/") for name in _members(path))


def _members(path: Path) -> list[str]:
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _is_double(torch: Any, net: Any) -> bool:
    if not isinstance(net, torch.nn.Module) or isinstance(net, torch.jit.ScriptModule):
        return False
    return bool(next((each.dtype for each in net.parameters() if each.is_floating_point()), None) == torch.float64)


def _fixed_rows(torch: Any, net: Any) -> int:
    """How many rows an exported program takes at a time; 0 for any number."""
    if not isinstance(net, torch.export.ExportedProgram):
        return 0
    names = set(net.graph_signature.user_inputs)
    sizes = [node.meta["val"].shape[0] for node in net.graph.nodes if node.name in names and node.meta["val"].ndim]
    return max((size for size in sizes if isinstance(size, int)), default=0)


def _forward(torch: Any, call: Any, fixed: int, rows: Tensors) -> Tensors:
    count = len(next(iter(rows.values())))
    if not fixed:
        return _call(torch, call, rows)
    taken = -(-count // fixed) * fixed
    padded = {name: values.take(range(taken), axis=0, mode="wrap") for name, values in rows.items()}
    parts = [_call(torch, call, {name: values[at : at + fixed] for name, values in padded.items()}) for at in range(0, taken, fixed)]
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def _call(torch: Any, call: Any, rows: Tensors) -> Tensors:
    with _quiet(torch), torch.no_grad():
        answer = call(*_args(torch, rows))
    if isinstance(answer, torch.Tensor):
        answer = {"output": answer}
    elif isinstance(answer, tuple | list):
        answer = {f"output_{place}": each for place, each in enumerate(answer)}
    if not isinstance(answer, Mapping) or not all(isinstance(each, torch.Tensor) for each in answer.values()):
        raise BuildFailed("forward() answers something else than tensors; expected one, a tuple of them, or a dict of them by name")
    return {str(name): each.detach().numpy() for name, each in answer.items()}


def _args(torch: Any, rows: Tensors) -> tuple[Any, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(values)) for values in rows.values())


def _export(torch: Any, net: Any, rows: Tensors) -> onnx.ModelProto:
    if _is_double(torch, net):  # ONNX Runtime has not every operator for it, and rows are served as FP32
        net, rows = (
            copy.deepcopy(net).float(),
            {name: values.astype(np.float32) if values.dtype == np.float64 else values for name, values in rows.items()},
        )
    args, options = _args(torch, rows), {"input_names": list(rows), "opset_version": OPSETS[""]}
    try:
        with _quiet(torch), torch.no_grad():
            if isinstance(net, torch.jit.ScriptModule):
                return _legacy(torch, net, args, options)
            if isinstance(net, torch.export.ExportedProgram):
                program = torch.onnx.export(net, dynamo=True, verbose=False, **options)
            else:
                shapes = tuple({0: torch.export.Dim("rows")} for _ in args)
                program = torch.onnx.export(net, args, dynamo=True, verbose=False, dynamic_shapes=shapes, **options)
            return _for_any_rows(program.model_proto, net, torch)
    except BuildFailed:
        raise
    except Exception as error:  # PyTorch's own have no common base
        raise BuildFailed(f"the network can't be converted to ONNX: {advise(error, 'torch')}") from error


def _for_any_rows(model: onnx.ModelProto, net: Any, torch: Any) -> onnx.ModelProto:
    """Where forward() has a number of rows of its own, the exporter fixes it without a word."""
    if isinstance(net, torch.nn.Module) and any(each.type.tensor_type.shape.dim[0].dim_value for each in model.graph.input):
        raise BuildFailed(
            "forward() fixes the number of rows, which a served model must not; take it from x.shape[0], or write -1 in reshape and view"
        )
    return model


def _legacy(torch: Any, net: Any, args: tuple[Any, ...], options: dict[str, Any]) -> onnx.ModelProto:
    """What torch.export doesn't take."""
    file, names = io.BytesIO(), options["input_names"]
    torch.onnx.export(net, args, file, dynamo=False, dynamic_axes={name: {0: "rows"} for name in names}, **options)
    model: onnx.ModelProto = onnx.load_model_from_string(file.getvalue())
    return model


def _in_order(net: Any, X: Any) -> Any:
    """Raises `BuildFailed` for tensors with the names of forward's parameters in another order than these."""
    if isinstance(X, dict) and hasattr(net, "forward"):
        parameters = [name for name in inspect.signature(net.forward).parameters if name in X]
        if set(parameters) == set(X) and parameters != list(X):
            raise BuildFailed(
                f"X has the tensors {', '.join(X)}; let load() answer them in the order of forward(): {', '.join(parameters)}"
            )
    return X


@contextmanager
def _quiet(torch: Any) -> Iterator[None]:
    """And on one thread, as everything is trained."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with quiet():
            yield
    finally:
        torch.set_num_threads(threads)
