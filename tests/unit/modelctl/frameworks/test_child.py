"""What comes back from the process that opens a file is believed no further than it can be checked."""

import io
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.config import ModelConfig
from tests.unit.modelserve.graphs import endless, scaled
from tools.modelctl.data import Split
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import Context, ModelFile, child, inside, sandbox
from tools.modelctl.frameworks.probe import Probed, Tensor

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.where(X[:, 0] > 0, "up", "down")
Process = Callable[[Path], int]


def context(task: Any = "custom", X: Any = X, y: Any = None) -> Context:
    return Context(config=ModelConfig(name="some", task=task), rows=Split(X, y, X, y), folder=Path("models/some"))


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Callable[[Process], None]:
    """In place of the process, a function that is given its folder and answers its exit status."""

    def replace(does: Process) -> None:
        def run(command: list[str], *, cwd: Path, env: dict[str, str], **options: Any) -> SimpleNamespace:
            assert not {name for name in env if name.startswith(("AWS", "MLFLOW", "MODEL_"))}
            return SimpleNamespace(returncode=does(cwd))

        monkeypatch.setattr("tools.modelctl.frameworks.child.subprocess.run", run)

    return replace


def opened(ctx: Context | None = None) -> child.Opened:
    return child.adapted(ModelFile(Path("some.pkl")), "scikit", ctx or context(X={"x": X}))


def good(scratch: Path) -> int:
    (scratch / "model.onnx").write_bytes(scaled(2))
    np.savez(scratch / "answers.npz", y=2 * X)
    (scratch / "facts.json").write_text('{"framework": "made 1"}')
    return 0


def test_a_graph_its_answers_and_facts_make_a_model(process: Callable[[Process], None]) -> None:
    process(good)
    rows = {"x": X}
    found = opened(context(X=rows))
    assert found.framework == "made 1"
    assert np.array_equal(found.answers(rows)["y"], 2 * X)
    assert found.to_onnx("some").graph.output[0].name == "y"
    with pytest.raises(BuildFailed, match="the held-out rows only"):
        found.answers({"x": X[:1]})


def other_names(scratch: Path) -> None:
    np.savez(scratch / "answers.npz", z=2 * X)


def other_rows(scratch: Path) -> None:
    np.savez(scratch / "answers.npz", y=X[:3])


def objects(scratch: Path) -> None:
    np.savez(scratch / "answers.npz", y=np.array([{}] * len(X), dtype=object))


def no_archive(scratch: Path) -> None:
    (scratch / "answers.npz").write_bytes(b"PK\3\4")


def bomb(scratch: Path) -> None:
    with (
        zipfile.ZipFile(scratch / "answers.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("y.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(9):
            file.write(bytes(2**20))


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def archive(scratch: Path, body: bytes, members: int = 1) -> None:
    with zipfile.ZipFile(scratch / "answers.npz", "w") as file:
        for place in range(members):
            file.writestr("y.npy" if not place else f"y{place}.npy", body)


def huge(scratch: Path) -> None:
    archive(scratch, header((12, 10**10)))


def of_nothing(scratch: Path) -> None:
    archive(scratch, header((12, 10**10), "<U0"))


def of_any_bytes(scratch: Path) -> None:
    archive(scratch, header((12,), "|V0"))


def single(scratch: Path) -> None:
    archive(scratch, header(()) + bytes(4))


def change_member(scratch: Path, local: int, central: int, value: bytes) -> None:
    """Of the first member, where it begins and where the archive lists it."""
    archive(scratch, header((12,)) + bytes(48))
    content = bytearray((scratch / "answers.npz").read_bytes())
    listed = content.index(b"PK\1\2")
    content[local : local + len(value)] = content[listed + central : listed + central + len(value)] = value
    (scratch / "answers.npz").write_bytes(content)


def encrypted(scratch: Path) -> None:
    change_member(scratch, 6, 8, b"\1")


def damaged(scratch: Path) -> None:
    change_member(scratch, 14, 16, bytes(4))  # its checksum


def overlapping(scratch: Path) -> None:
    change_member(scratch, 22, 24, b"\xff\xff\xff\x7f")  # its size


def piped_graph(scratch: Path) -> None:
    (scratch / "model.onnx").unlink()
    os.mkfifo(scratch / "model.onnx")


def piped_facts(scratch: Path) -> None:
    (scratch / "facts.json").unlink()
    os.mkfifo(scratch / "facts.json")


def steering(scratch: Path) -> None:
    (scratch / "facts.json").write_text('{"framework": "torch \\u001b[2J"}')


def any_type(scratch: Path) -> None:
    """Which would be written into a train.py."""
    (scratch / "facts.json").write_text('{"probed": {"inputs": [{"name": "x", "dtype": "int64 if print() else np.int64", "shape": [1]}]}}')


def linked(scratch: Path) -> None:
    (scratch / "facts.json").rename(scratch / "other.json")
    (scratch / "facts.json").symlink_to(scratch / "other.json")


def linked_graph(scratch: Path) -> None:
    (scratch / "model.onnx").rename(scratch / "other.onnx")
    (scratch / "model.onnx").symlink_to(scratch / "other.onnx")


def large_facts(scratch: Path) -> None:
    (scratch / "facts.json").write_text('{"framework": "' + "x" * 2**20 + '"}')


def more_facts(scratch: Path) -> None:
    (scratch / "facts.json").write_text('{"module": "os"}')


def no_facts(scratch: Path) -> None:
    (scratch / "facts.json").unlink()


def forbidden(scratch: Path) -> None:
    (scratch / "model.onnx").write_bytes(endless())


def no_graph(scratch: Path) -> None:
    (scratch / "model.onnx").write_bytes(b"no graph")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_names, "isn't an answer for each row"),
        (other_rows, "isn't an answer for each row"),
        (objects, "no answers that can be read"),
        (no_archive, "no answers that can be read"),
        (bomb, "no answers that can be read"),
        *(
            (changed, "no answers that can be read")
            for changed in (huge, of_nothing, of_any_bytes, single, overlapping, encrypted, damaged)
        ),
        (linked, "before it had answered"),
        (linked_graph, "no graph that can be read"),
        (piped_graph, "no graph that can be read"),
        (piped_facts, "before it had answered"),
        (steering, "before it had answered"),
        (any_type, "before it had answered"),
        (large_facts, "before it had answered"),
        (more_facts, "before it had answered"),
        (no_facts, "before it had answered"),
        (forbidden, "may not be served: node .* may never end"),
        (no_graph, "may not be served: model.onnx is no ONNX model"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_anything_else_is_refused(
    process: Callable[[Process], None], monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], told: str
) -> None:
    monkeypatch.setattr(child, "_MOST_BYTES", 2**23)

    def does(scratch: Path) -> int:
        good(scratch)
        change(scratch)
        return 0

    process(does)
    with pytest.raises(BuildFailed, match=told):
        opened()


@pytest.mark.parametrize(
    ("status", "told"),
    [(-24, "within 300 s"), (-11, "by signal SIGSEGV"), (1, "by exit status 1: last words")],
)
def test_a_process_that_ends_otherwise_is_said_to(process: Callable[[Process], None], status: int, told: str) -> None:
    def does(scratch: Path) -> int:
        (scratch / "output").write_text("first\nlast words\n")
        return status

    process(does)
    with pytest.raises(BuildFailed, match=told):
        opened()


def test_one_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: Any, timeout: float, **options: Any) -> None:
        raise subprocess.TimeoutExpired("sandbox", timeout)

    monkeypatch.setattr("tools.modelctl.frameworks.child.subprocess.run", run)
    with pytest.raises(BuildFailed, match="convert it to ONNX elsewhere"):
        opened()


def test_its_words_can_not_steer_a_terminal(process: Callable[[Process], None]) -> None:
    def does(scratch: Path) -> int:
        (scratch / "facts.json").write_text('{"refused": "names \\u001b[2Jos.system\\r\\n"}')
        return 0

    process(does)
    with pytest.raises(BuildFailed) as refused:
        opened()
    assert str(refused.value) == "names  [2Jos.system  "


def test_rows_of_other_classes_than_the_model_has_are_refused() -> None:
    with pytest.raises(BuildFailed, match="the model answers 0, 1, and the rows have down, up to predict"):
        child._compare((0, 1), Y)
    child._compare(("up", "down", "level"), Y)
    child._compare((0, 1), np.array([0.0, 1.0]).astype(int))
    child._compare((), Y)


def answered(scratch: Path, estimator: Any, ctx: Context, *, only_probe: bool = False) -> inside.Facts:
    """As the process of its own does it."""
    import pickle

    joblib.dump(estimator, scratch / "some.joblib")
    request = inside.Request(ModelFile(scratch / "some.joblib"), "scikit", ctx, only_probe=only_probe)
    (scratch / "request.pickle").write_bytes(pickle.dumps(request))
    inside.answer(scratch, sandbox.Refusal)
    return inside.Facts.model_validate_json((scratch / "facts.json").read_bytes())


def test_a_classifier_leaves_its_graph_answers_and_classes(tmp_path: Path) -> None:
    fitted = LogisticRegression().fit(X, Y)
    facts = answered(tmp_path, fitted, context("classification", y=Y))
    assert not facts.refused
    assert facts.framework.startswith("scikit-learn 1.")
    assert facts.classes == ("down", "up")
    answers = child._arrays(tmp_path / "answers.npz")
    assert answers["label"].tolist() == fitted.predict(X).tolist()
    assert [output.name for output in onnx.load(tmp_path / "model.onnx").graph.output] == ["label", "probabilities"]


def test_clusters_leave_where_they_are_judged(tmp_path: Path) -> None:
    fitted = make_pipeline(StandardScaler(), KMeans(2, n_init=1, random_state=0)).fit(X)
    assert not answered(tmp_path, fitted, context("clustering")).refused
    space = child._space(tmp_path / "space.npy")
    assert np.allclose(space, fitted[:-1].transform(X))


def test_a_model_says_what_it_was_trained_for(tmp_path: Path) -> None:
    facts = answered(tmp_path, LogisticRegression().fit(X, Y), context(), only_probe=True)
    assert facts.probed.task == "classification"
    assert [tensor.shape for tensor in facts.probed.inputs] == [(3,)]
    assert isinstance(facts.probed, Probed)


def test_distances_that_no_file_could_hold_are_not_made_room_for(tmp_path: Path) -> None:
    (tmp_path / "space.npy").write_bytes(header((10**11,)))
    with pytest.raises(BuildFailed, match="no distances that can be read"):
        child._space(tmp_path / "space.npy")


def test_what_an_estimator_says_of_itself_is_not_believed(tmp_path: Path) -> None:
    fitted, tensor = LogisticRegression().fit(X, Y), StandardScaler()
    tensor.__dict__.update(dtype="int64 if print() else np.int64", shape=(1, 4), name="x")
    fitted.__dict__.update(framework="\x1b]0;TITLE\x07 signed", example_inputs=([tensor],), inputs=[tensor], layers=[])
    facts = answered(tmp_path, fitted, context(), only_probe=True)
    assert facts.probed.inputs == (Tensor(name="input", shape=(3,)),)
    assert answered(tmp_path, fitted, context("classification", y=Y)).framework.startswith("scikit-learn 1.")


@pytest.mark.parametrize("name", ["of \x1b[2J", "\u202egnp.exe", "x" * 1001])
def test_columns_that_steer_a_terminal_are_not_told(tmp_path: Path, name: str) -> None:
    fitted = LogisticRegression().fit(pd.DataFrame(X, columns=[name, "b", "c"]), Y)
    assert answered(tmp_path, fitted, context(), only_probe=True).probed.columns == ()


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"model": 1}, "holds a dict of 'model'; expected one fitted estimator"),
        ([1, 2], "holds a list of 2"),
        (StandardScaler(), "holds a StandardScaler"),
        (LogisticRegression(), "never fitted"),
        (os.system, "names posix.system"),
    ],
)
def test_what_holds_no_fitted_estimator_is_refused(tmp_path: Path, held: Any, told: str) -> None:
    assert told in answered(tmp_path, held, context("classification", y=Y)).refused


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (sandbox.Refusal("to open a connection (socket.connect)"), "tried to open a connection (socket.connect)"),
        (
            RuntimeError("in the script:\nunable to open </x>: Permission denied (13)\n"),
            "opening a model doesn't take (unable to open </x>: Permission denied (13))",
        ),
        (MemoryError(), "half of this machine's memory"),
        (KeyError("x"), "can't be opened and converted: KeyError: 'x'"),
        (BuildFailed("as it is"), "as it is"),
    ],
)
def test_why_it_failed_is_one_sentence(error: Exception, told: str) -> None:
    assert told in inside._reason(error, "some.pkl", sandbox.Refusal)
    wrapped = RuntimeError("something")
    wrapped.__cause__ = error
    if isinstance(error, MemoryError | sandbox.Refusal):
        assert told in inside._reason(wrapped, "some.pkl", sandbox.Refusal)
