"""A model run in a process of its own, which it can't leave, fill or keep."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from models.config import FunctionConfig
from modelserve.manifest import MODEL_FILE
from modelserve.registry import Registry
from tests.unit.modelctl.factories import draft
from tests.unit.modelserve.graphs import endless, filled, folded, lookup, picky, scaled
from tools.local.dockerfile import argv, parse
from tools.modelctl.commands import releasing
from tools.modelctl.errors import ModelRefused
from tools.modelctl.limits import Limits
from tools.modelctl.safety import examine, examine_version
from tools.modelctl.trial import Refused, Trial, attempt

ROOT = Path(__file__).parents[3]
LIMITS = Limits.of_function(FunctionConfig(memory=512, timeout=20))


def tried(folder: Path, model: bytes, x: list[float] | None = None, *, datatype: str = "INT64", seconds: int = 20) -> Trial | str:
    """What became of `model`, asked `x` where there is one."""
    (folder / MODEL_FILE).write_bytes(model)
    example = folder / "example.json"
    if x is not None:
        shape = [1, 3] if datatype == "FP32" else [1]
        example.write_bytes(orjson.dumps({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": x}]}))
    limits = Limits.of_function(FunctionConfig(memory=512, timeout=seconds))
    outcome = attempt(folder / MODEL_FILE, example if x is not None else None, limits)
    return str(outcome) if isinstance(outcome, Refused) else outcome


def test_what_answers_is_measured(tmp_path: Path) -> None:
    found = tried(tmp_path, scaled(2), [1, 2, 3], datatype="FP32")
    assert isinstance(found, Trial)
    assert found.load_seconds > 0
    assert found.run_seconds > 0
    assert 10 < found.peak_megabytes < 512
    assert found.answers_zeros


def test_what_refuses_empty_strings_is_said_to(tmp_path: Path) -> None:
    found = tried(tmp_path, picky())
    assert isinstance(found, Trial)
    assert not found.answers_zeros


def test_what_has_no_example_is_warmed_up_all_the_same(tmp_path: Path) -> None:
    assert isinstance(tried(tmp_path, scaled(2)), Trial)


def test_what_never_ends_is_refused(tmp_path: Path) -> None:
    assert "did not load and answer within 2 s; raise `timeout`" in str(tried(tmp_path, endless(), [1], seconds=2))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its memory")
@pytest.mark.parametrize(("model", "x"), [(filled(), [10_000_000_000]), (folded(200_000_000), None)], ids=["as it runs", "as it loads"])
def test_what_asks_for_more_memory_than_its_function_has_is_refused(tmp_path: Path, model: bytes, x: list[float] | None) -> None:
    assert "needs more than the 512 MB of its function; raise `memory`" in str(tried(tmp_path, model, x))


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    assert "can't answer: the graph of" in str(tried(tmp_path, b"no graph"))


def test_what_refuses_its_own_example_is_refused(tmp_path: Path) -> None:
    assert "indices element out of data bounds" in str(tried(tmp_path, lookup(), [9]))


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "by signal SIGSEGV"),
        ("import os; os._exit(7)", "by exit status 7"),
        ("print('garbage')", "before it had answered"),
        ("print('{}')", "before it had answered"),
        ("print('[1]')", "before it had answered"),
        ("pass", "before it had answered"),
        ("while True: pass", "did not load and answer within 2 s"),
        ("import time; time.sleep(60)", "did not load and answer within 2 s"),
    ],
)
def test_a_process_that_gives_no_report_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, told: str) -> None:
    program_file = tmp_path / "program.py"
    program_file.write_text(program)
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program_file}"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))

    assert told in str(tried(tmp_path, scaled(2), seconds=2 if "within" in told else 20))


def environment_of_a_trial(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """NAME=value of each variable that the process has."""
    interpreter = folder / "python"
    interpreter.write_text(f'#!/bin/sh\nenv > "{folder}/seen"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    tried(folder, scaled(2))
    return (folder / "seen").read_text().splitlines()


def test_the_process_has_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would run in it, should a graph ever break out of ONNX Runtime."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-2718")

    seen = environment_of_a_trial(tmp_path, monkeypatch)

    assert any(line.startswith("PYTHONPATH=") for line in seen)
    assert not any("AWS" in line for line in seen)


def test_the_process_has_the_environment_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else OpenBLAS takes memory for each core of the machine, until on a large one no model fits its function."""
    image = [
        word
        for step in parse((ROOT / "functions/predict/Dockerfile").read_text("utf-8"))
        if step.name == "ENV"
        for word in argv(step.value)
        if not word.startswith("AWS_")  # which is for Lambda to read
    ]
    assert "OPENBLAS_NUM_THREADS=1" in image
    for setting in image:
        monkeypatch.delenv(setting.partition("=")[0], raising=False)

    assert set(image) <= set(environment_of_a_trial(tmp_path, monkeypatch))


@pytest.mark.parametrize(("memory", "computing"), [(512, 10), (1769, 10), (3538, 20)])
def test_what_nobody_waits_for_computes_no_longer_than_a_function_however_many_cores_there_are(memory: int, computing: int) -> None:
    """One thread for each virtual CPU that comes with the memory."""
    program = f"""
import os, resource
os.cpu_count = os.process_cpu_count = lambda: 64
from models.config import FunctionConfig
from tools.modelctl.limits import Limits
from tools.modelctl.trial import _confine
_confine(Limits.of_function(FunctionConfig(memory={memory}, timeout=10)))
print(resource.getrlimit(resource.RLIMIT_CPU)[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, check=True, text=True
    )

    assert int(done.stdout) == computing


def test_what_the_lint_finds_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Path] = []
    monkeypatch.setattr("tools.modelctl.safety.attempt", lambda model, *_, **__: ran.append(model))
    (tmp_path / MODEL_FILE).write_bytes(endless())

    (finding,) = examine(tmp_path / MODEL_FILE, None, LIMITS)

    assert "may never end" in str(finding)
    assert ran == []


@pytest.mark.parametrize(
    ("make", "told"), [(lambda: scaled(2), None), (endless, "may never end"), (lambda: b"no graph", "is no ONNX model")]
)
def test_a_version_of_a_store_is_examined_as_it_is_there(
    registry: Registry, tmp_path: Path, make: Callable[[], bytes], told: str | None
) -> None:
    (tmp_path / "published.onnx").write_bytes(make())
    version = registry.publish(draft(), {MODEL_FILE: tmp_path / "published.onnx"}).version
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    findings = examine_version(registry, "fruit", version, scratch=scratch)

    assert [told in str(finding) for finding in findings if told] == ([True] if told else [])
    assert len(findings) == (1 if told else 0)


def test_promote_refuses_what_may_not_be_served_until_it_is_forced(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "published.onnx").write_bytes(endless())
    version = registry.publish(draft(), {MODEL_FILE: tmp_path / "published.onnx"}).version

    with pytest.raises(ModelRefused, match=rf"fruit may not be served: .*may never end.*modelctl promote fruit {version} --force"):
        releasing._refused(registry, "fruit", version, None)
    assert releasing._refused(registry, "fruit", version, "a demonstration")
