"""A GPU against the CPU: parity, ratios and the page that keeps them, with a device that is made."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto
from typer.testing import CliRunner

from tools.bench import devices, gpu, samples
from tools.bench.devices import Answers, Device, Run
from tools.bench.gpu import BEGIN, END, Measured, app, compare, document, measure, write
from tools.bench.samples import Sample, transformer
from tools.loopback.errors import MeasureError
from tools.modelctl.scaffold.transformer.train import Sizes

SMALL = Sizes(layers=1, hidden=8, heads=2, inner=16, vocabulary=20, tokens=4, classes=3)
SAME = Device("a made GPU", "onnxruntime 0", devices.cpu(1).open)


@pytest.fixture
def sample() -> Sample:
    return transformer(SMALL)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, and one small sample."""
    monkeypatch.setattr(gpu, "gpu", lambda: SAME)
    monkeypatch.setattr(gpu, "SAMPLES", {"transformer": lambda: transformer(SMALL)})


def wrong(model: ModelProto) -> Run:
    """Another's answers for the first two rows."""

    def run(rows: np.ndarray) -> Answers:
        answers = devices.cpu(1).open(model)(rows)
        label, probabilities = answers["label"].copy(), answers["probabilities"].copy()
        label[:2] += 1
        probabilities[:2] += 0.25
        return {"label": label, "probabilities": probabilities}

    return run


def test_the_same_graph_on_the_same_processor_is_equal(sample: Sample) -> None:
    found = measure(sample, devices.cpu(1), SAME, rounds=3, batches=(1, 8))
    assert (found.difference, found.equal, found.rows) == (0, 128, 128)
    assert list(found.seconds) == [1, 8]
    assert all(seconds > 0 for pair in found.seconds.values() for seconds in pair)


def test_a_device_that_answers_otherwise_is_told(sample: Sample) -> None:
    found = measure(sample, devices.cpu(1), Device("odd", "odd", wrong), rounds=3, batches=(1,))
    assert found.difference == pytest.approx(0.25)
    assert (found.equal, found.rows) == (126, 128)


def test_a_batch_is_that_many_rows_and_both_run_in_turns(sample: Sample) -> None:
    calls: list[tuple[str, int]] = []

    def device(name: str) -> Device:
        own = devices.cpu(1).open(sample.model)

        def run(rows: np.ndarray) -> Answers:
            calls.append((name, len(rows)))
            return own(rows)

        return Device(name, name, lambda _: run)

    measure(sample, device("a"), device("b"), rounds=4, batches=(8,))
    assert calls == [("a", 128), ("b", 128), *[("a", 8), ("b", 8)] * 5]


def test_difference_is_relative_to_the_larger_of_one_and_the_number() -> None:
    def answers(number: float) -> Answers:
        return {"label": np.array([0]), "probabilities": np.array([[number]], np.float32)}

    assert compare(answers(0.5), answers(0.25)) == (0.25, 1)
    assert compare(answers(4), answers(3)) == (0.25, 1)


def test_the_page_says_what_ran_where_and_the_ratio(sample: Sample) -> None:
    text = document([Measured(sample, 2e-7, 127, 128, {1: (0.02, 0.005), 32: (0.5, 0.01)})], Device("a CPU", "x 1", wrong), SAME)
    assert "a made GPU (onnxruntime 0)" in text
    assert "a CPU (x 1)" in text
    assert "at most 2.0e-07, 127/128 labels are equal" in text
    assert "| 1 | 20.00 | 5.00 | 4.0 |" in text
    assert "| 32 | 500.00 | 10.00 | 50.0 |" in text


def test_only_the_marked_block_of_the_page_is_replaced(tmp_path: Path, made: None) -> None:
    page = tmp_path / "gpu.md"
    page.write_text(f"before\n{BEGIN}\nnot run\n{END}\nafter\n", "utf-8")
    for _ in range(2):
        result = CliRunner().invoke(app, ["--sample", "transformer", "--rounds", "3", "--markdown", str(page)])
        assert result.exit_code == 0, result.output
    text = page.read_text("utf-8")
    assert text.startswith(f"before\n{BEGIN}\n\nMeasured on 20")
    assert text.endswith(f"|\n\n{END}\nafter\n")
    assert text.count("| rows | CPU ms |") == 1


@pytest.mark.parametrize("text", ["", f"{BEGIN} only", f"{END} {BEGIN}"])
def test_a_page_without_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    with pytest.raises(MeasureError, match="has no block to write to"):
        write(page, "figures")
    assert page.read_text("utf-8") == text


def test_without_a_gpu_it_says_so_in_a_sentence_and_exits_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "gpu", lambda: None)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith("No GPU can be used here")


def test_an_unknown_sample_is_told(made: None) -> None:
    result = CliRunner().invoke(app, ["--sample", "resnet"])
    assert result.exit_code == 1
    assert "there is no sample 'resnet'; expected one of transformer" in result.output


def test_onnx_runtime_falling_back_to_the_cpu_is_no_measurement(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with the CPU when CUDA's libraries are missing."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(devices, "_nvidia", lambda: "NVIDIA T4, driver 1")
    real = onnxruntime.InferenceSession
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda model, options, **_: real(model, options))
    device = devices.gpu()
    assert device is not None
    assert device.name == "NVIDIA T4, driver 1"
    with pytest.raises(MeasureError, match="can't use CUDAExecutionProvider"):
        device.open(sample.model)


@pytest.mark.slow
def test_the_convolutional_sample_has_rows_for_the_largest_batch() -> None:
    found = samples.digits_cnn()
    assert len(found.rows) == max(gpu.BATCHES)
    assert devices.cpu(1).open(found.model)(found.rows[:2])["probabilities"].shape == (2, 10)
