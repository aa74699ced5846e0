"""Runs a model on each runtime that will serve it, and holds the answers against each other: the same file goes to all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import defs
from onnxruntime.capi import onnxruntime_pybind11_state as native

from models.config import ParityConfig
from tools.modelctl import archives, graphs, on_runtime, parity
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.lint import lint
from tools.modelctl.parity import Answers

__all__ = ["TRITON", "Case", "Outcome", "Runtime", "check", "fetched", "without_kernel"]

TRITON = "1.24"
"""The ONNX Runtime of Triton 2.67."""
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_SECONDS = 600  # to fetch that runtime, and to answer
_SHOWN = 300  # letters of a reason
_NOT_FOR_OTHERS = ("AWS_", "PYTHON", "VIRTUAL_ENV")
"""Beginnings of the environment variables that another environment's Python neither needs nor should have."""
Runtime = list[str]
"""The command of a Python that has numpy and the ONNX Runtime to be tried."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model that its caller has tried before: what is run here, is run without a bound of memory."""

    model: Path
    inputs: Answers
    expected: Answers
    """Answers to `inputs`, to be given again."""
    allowed: ParityConfig
    memory: int
    """MB of its function, or its instance."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a model on a target."""

    name: str
    ok: bool | None
    """None where the target could not be tried."""
    found: str


def check(case: Case, *, triton: Runtime | None) -> list[Outcome]:
    """On Lambda's ONNX Runtime, Triton's, and a GPU where this machine's runtime has one; `triton` is None where it can't be had."""
    return [_on_lambda(case), _on_triton(case, triton), _on_cuda(case)]


def fetched(version: str = TRITON) -> Runtime | None:
    """A Python with that ONNX Runtime, in an environment of its own that uv makes; None where uv or the package can't be had."""
    uv = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))))
    if uv is None:
        return None
    packages = ("--with", f"onnxruntime=={version}.*", "--with", f"numpy=={np.__version__}")
    return [uv, "run", "--quiet", "--isolated", "--no-project", "--no-config", "--python", sys.executable, *packages, "python"]


def without_kernel(model: onnx.ModelProto, provider: str = CPU) -> list[str]:
    """Operators, each with its version, that this machine's ONNX Runtime has no kernel for on `provider`, and can't write as others."""
    kernels: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for kernel in native.get_all_opkernel_def():
        if kernel.provider == provider:
            kernels.setdefault((graphs.domain(kernel.domain), kernel.op_name), []).append(kernel.version_range)
    return sorted(
        {
            f"{domain + '.' if domain else ''}{name} {since}"
            for domain, name, since in _operators(model)
            if not any(first == since or (first <= since <= last < _OPEN) for first, last in kernels.get((domain, name), ()))
        }
    )


_OPEN = 2**31 - 1  # the end of a range that no later version has closed: of such ONNX Runtime takes only the first


def _operators(model: onnx.ModelProto) -> Iterable[tuple[str, str, int]]:
    """Domain, name and the version that last changed it, of every operator that no function body stands for."""
    own = graphs.functions(model)
    for imports, nodes in graphs.scopes(model):
        for node in nodes:
            domain = graphs.domain(node.domain)
            if graphs.called(node) in own or node.op_type == "Constant":  # which is a weight by the time that kernels are looked for
                continue
            try:
                schema = defs.get_schema(node.op_type, imports.get(domain, 1), domain)
            except defs.SchemaError:  # ONNX Runtime's own
                yield domain, node.op_type, imports.get(domain, 1)
            else:
                if not schema.has_function and not schema.has_context_dependent_function:  # type: ignore[attr-defined]  # not in its stub
                    yield domain, node.op_type, schema.since_version


def _on_lambda(case: Case) -> Outcome:
    runtime = f"onnxruntime {onnxruntime.__version__} on CPU"
    try:
        return _judged("lambda", runtime, case, parity.run(case.model, case.inputs))
    except BuildFailed as error:
        return Outcome(name="lambda", ok=False, found=f"{runtime}: {_cause(error, case)}")


def _on_triton(case: Case, runtime: Runtime | None) -> Outcome:
    answer = _ask(runtime, case) if runtime else None
    if answer is None:
        findings = "; ".join(map(str, lint(case.model, memory=case.memory)))
        told = findings or "by the tables of opsets, IR versions and operators it would load it"
        return Outcome(name="triton", ok=False if findings else None, found=f"not run: onnxruntime {TRITON} can't be had here; {told}")
    version, answers, failed = answer
    if answers is None:
        return Outcome(name="triton", ok=False, found=f"onnxruntime {version} on CPU: {failed}")
    return _judged("triton", f"onnxruntime {version} on CPU", case, answers)


def _on_cuda(case: Case) -> Outcome:
    if CUDA not in onnxruntime.get_available_providers():
        return Outcome(name="cuda", ok=None, found="not tried: this machine's onnxruntime has no CUDAExecutionProvider")
    fallen = without_kernel(onnx.load_model(case.model), CUDA)
    runtime = f"onnxruntime {onnxruntime.__version__} on CUDA" + (f", but for {', '.join(fallen)}, which run on the CPU" if fallen else "")
    try:
        session = onnxruntime.InferenceSession(case.model, providers=[CUDA, CPU])
        if CUDA not in session.get_providers():  # ONNX Runtime goes on without a provider that it can't start
            return Outcome(name="cuda", ok=None, found="not tried: onnxruntime could not start CUDA on this machine")
        names = [output.name for output in session.get_outputs()]
        answers = dict(zip(names, session.run(names, case.inputs), strict=True))
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's own have no common base
        return Outcome(name="cuda", ok=False, found=f"{runtime}: {_cause(error, case)}")
    return _judged("cuda", runtime, case, answers)


def _ask(runtime: Runtime, case: Case) -> tuple[str, Answers | None, str] | None:
    """Its version, and the answers, or else why there are none; None when no such runtime could be started."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_OTHERS)}
    with tempfile.TemporaryDirectory() as scratch:
        given, found = Path(scratch, "inputs.npz"), Path(scratch, "answers.npz")
        archives.write(given, case.inputs)
        command = [*runtime, "-I", str(on_runtime.__file__), str(case.model.resolve()), str(given), str(found), CPU]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, cwd=scratch, env=environment, stdin=subprocess.DEVNULL, timeout=_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        report = _documents(done.stdout)
        if "runtime" not in report:
            return None
        if not found.exists():
            reason = report.get("failed") or f"it ended the process that ran it, with exit status {done.returncode}"
            return str(report["runtime"]), None, first_line(reason)[:_SHOWN]
        return str(report["runtime"]), archives.read(found), ""


def _documents(output: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in output.splitlines():
        try:
            found |= json.loads(line)
        except (ValueError, TypeError):
            continue  # what native code wrote
    return found


def _judged(name: str, runtime: str, case: Case, answers: Answers) -> Outcome:
    found = parity.compare(case.expected, answers, case.allowed)
    told = f"{found.rows} rows, numbers differ by up to {found.largest_difference:.2g}, labels of {found.disagreement:.2%}"
    return Outcome(name=name, ok=found.passed, found=f"{runtime}: {told}")


def _cause(error: Exception, case: Case) -> str:
    missing = without_kernel(onnx.load_model(case.model))
    return f"has no kernel for {', '.join(missing)}" if missing else first_line(error)[:_SHOWN]
