"""What a person reads of how a version is opened."""

from modelserve.manifest import MODEL_FILE, File, Load
from modelserve.record import replace
from tests.unit.modelctl.factories import draft
from tools.modelctl.loading.shown import sentence

PLAIN = {"load_ms": 300.0, "first_ms": 90.0, "steady_us": 100.0}
FASTER = {"load_ms": 20.0, "first_ms": 100.0, "steady_us": 103.0}


def test_a_version_that_nobody_measured_needs_no_words() -> None:
    assert not sentence(draft())


def test_where_nothing_is_faster_it_is_told_that_it_was_measured() -> None:
    told = sentence(replace(draft(), load_figures={"onnx": PLAIN, "external": PLAIN, "ort": PLAIN}))
    assert told == "opened as plain ONNX: 2 other ways were measured, and none answers sooner by a fifth and runs as fast"


def test_the_ratios_to_plain_onnx_are_told_and_where_it_is_not_opened_so() -> None:
    load = Load(format="external", files=(), cpu="x86_64 avx512f")
    told = sentence(replace(draft(), load=load, load_figures={"optimized, external": FASTER, "onnx": PLAIN}))
    assert told == (
        "opened as optimized, external: loads 15.0x as fast as plain ONNX, first answer 3.2x as fast, runs 1.03x as long; "
        "on x86_64 avx512f, elsewhere as plain ONNX"
    )


def test_of_a_compressed_file_it_is_told_how_much_less_is_downloaded() -> None:
    model, packed = File(path=MODEL_FILE, size=800, sha256="a"), File(path=f"{MODEL_FILE}.zst", size=100, sha256="b")
    load = Load(format="onnx", files=(packed,), zstd=MODEL_FILE)
    told = sentence(replace(draft(), files=(model, packed), load=load, load_figures={"onnx": PLAIN}))
    assert told == "opened as onnx: 8.0x fewer bytes to download"
