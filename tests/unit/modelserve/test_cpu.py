"""What a version may ask of the CPU that opens it."""

import platform

import pytest

from modelserve import cpu

MACHINE = platform.machine()


@pytest.mark.parametrize(
    ("wanted", "had"),
    [
        ("", True),
        (MACHINE, True),
        (f"{MACHINE} no_such_flag", False),
        ("z80", False),
        ("!z80", True),
        (f"!{MACHINE}", False),
        (f"  {MACHINE}  ", True),
    ],
)
def test_a_cpu_has_all_that_is_asked_for_or_not(wanted: str, had: bool):
    assert cpu.has(wanted) is had


def test_the_flags_are_those_of_the_kernel(monkeypatch, tmp_path):
    """As x86-64 and arm64 write them; elsewhere only the architecture is known."""
    for name in ("flags\t\t", "Features\t"):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{name}: fpu avx2\n\nprocessor\t: 1\n{name}: other\n")
        monkeypatch.setattr(cpu, "open", lambda _name: open(tmp_path / "cpuinfo"), raising=False)  # noqa: SIM115 - closed by its reader
        assert cpu.features() == {MACHINE, "fpu", "avx2"}
    monkeypatch.setattr(cpu, "open", lambda _name: open(tmp_path / "none"), raising=False)  # noqa: SIM115
    assert cpu.features() == {MACHINE}
