"""A network whose operators reach files is refused before it is loaded; one that has its own variables alone is not."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import operators


@pytest.mark.parametrize(
    ("member", "code"),
    [
        ("net/code/__torch__.py", '  t = torch.from_file("/x", True, 16)'),
        ("net/code/__torch__/inner.py", "  _0 = torch.save(t, name)"),
        ("net/code/__torch__.py", "  t = ops.aten.from_file(name)"),
        ("net/models/model.json", '{"target": "torch.ops.aten.from_file.default"}'),
    ],
)
def test_a_script_that_reaches_files_is_refused(tmp_path: Path, member: str, code: str) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr(member, code)
    with pytest.raises(BuildFailed, match=r"net.pt has the operator (from_file|save), which reaches files"):
        operators.check_torch(tmp_path / "net.pt")


def test_a_script_that_only_computes_is_not_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/code/__torch__.py", "  saved = torch.add((self).saved, torch.from_numpy(x))")
        archive.writestr("net/data/0", "torch.save")
    operators.check_torch(tmp_path / "net.pt")
    (tmp_path / "weights.pt").write_bytes(b"no archive")
    operators.check_torch(tmp_path / "weights.pt")


def test_code_that_would_fill_the_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "_MOST_BYTES", 10)
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/code/__torch__.py", " " * 11)
    with pytest.raises(BuildFailed, match="11 bytes of code"):
        operators.check_torch(tmp_path / "net.pt")


def saved(folder: Path, body: Any) -> Path:
    """A SavedModel that calls `body` with its rows before it answers."""
    tensorflow = pytest.importorskip("tensorflow", reason="the extra keras is not installed")

    class Net(tensorflow.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.weights = tensorflow.Variable(tensorflow.ones((4, 1)))

        @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 4], tensorflow.float32)])  # type: ignore[untyped-decorator]
        def serve(self, x: Any) -> Any:
            body(tensorflow, x)
            return {"output": x @ self.weights}

    net = Net()
    tensorflow.saved_model.save(net, str(folder), signatures={"serving_default": net.serve})
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("body", "operator"),
    [
        (lambda tensorflow, _: tensorflow.io.write_file("x", tensorflow.io.read_file("/etc/hostname")), "ReadFile"),
        (lambda tensorflow, x: tensorflow.raw_ops.SaveV2(prefix="x", tensor_names=["x"], shape_and_slices=[""], tensors=[x]), "SaveV2"),
        (lambda tensorflow, x: tensorflow.numpy_function(lambda rows: rows, [x], tensorflow.float32), "PyFunc"),
        (lambda tensorflow, x: tensorflow.print(x, output_stream="file:///x"), "PrintV2"),
    ],
    ids=["read", "save", "python", "print"],
)
def test_a_graph_that_reaches_files_is_refused(tmp_path: Path, body: Any, operator: str) -> None:
    with pytest.raises(BuildFailed, match=f"has the operator {operator}, which reaches files"):
        operators.check_saved_model(saved(tmp_path / "net", body))


@pytest.mark.filterwarnings("ignore")
def test_a_graph_keeps_its_own_variables(tmp_path: Path) -> None:
    operators.check_saved_model(saved(tmp_path / "net", lambda *_: None))
