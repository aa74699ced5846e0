"""What a person sees of a compression."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from tools.modelctl.compress.results import Comparison, Result
from tools.modelctl.compress.scorecard import scorecard
from tools.modelctl.latency import Batch, Measured


def result(folder: Path, method: str, size: int, metric: float, times: tuple[float, ...], *, load: float) -> Result:
    """Of a file with nothing in it."""
    file = folder / method
    with file.open("wb") as opened:
        opened.truncate(size)
    batches = tuple(Batch(rows, time, time) for rows, time in zip((1, 32, 256), times, strict=True))
    return Result(method=method, model=file, metric=metric, measured=Measured(load, batches))


def shown(comparison: Comparison) -> str:
    console = Console(file=StringIO(), width=80)
    console.print(next(iter(scorecard(comparison, (), gpu=False))))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def of_digits_cnn(folder: Path, metric: str) -> Comparison:
    return Comparison(
        name="digits_cnn",
        version="20261121T174100Z-1a2b3c4d",
        transform="static-int8",
        origin="20261120T174100Z-aaaabbbb",
        reference=0.97556,
        metric=metric,
        lower_is_better=False,
        limit=0.01,
        cpu="a CPU",
        parent=result(folder, "parent", 2_776_512, 0.97556, (60, 732, 7_773), load=3.08),
        results=(
            result(folder, "dynamic-int8", 1_388_700, 0.96, (74, 1_095, 16_405), load=14.76),
            result(folder, "prune", 66_500, 0.97111, (24, 308, 2_083), load=1.51),
        ),
    )


def test_in_80_columns_nothing_is_cut_nor_folded(tmp_path: Path) -> None:
    lines = [line.split() for line in shown(of_digits_cnn(tmp_path, "accuracy")).splitlines()]
    assert lines == [
        ["µs", "at", "load,"],
        ["method", "kB", "smaller", "accuracy", "drop", "1", "/", "32", "/", "256", "rows", "ms"],
        ["parent", "2,776.5", "0.9756", "0", "60", "/", "732", "/", "7,773", "3.08"],
        ["1a2b3c4d"],
        ["static-int8"],
        ["dynamic-int8", "1,388.7", "2.00x", "0.96", "0.01556", "74", "/", "1,095", "/", "16,405", "14.8"],
        ["prune", "66.5", "41.75x", "0.9711", "0.00445", "24", "/", "308", "/", "2,083", "1.51"],
    ]


def test_a_metric_with_a_longer_name_is_folded(tmp_path: Path) -> None:
    text = shown(of_digits_cnn(tmp_path, "calibration_error"))
    assert "…" not in text
    assert "0.01556" in text
    assert "16,405" in text
    assert all(len(line) <= 80 for line in text.splitlines())
