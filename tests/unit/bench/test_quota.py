"""A share of a CPU, where the machine lets a process give one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench import quota
from tools.bench.measures import Unavailable
from tools.bench.quota import limited


def test_a_machine_that_allows_no_control_group_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(quota, "_VERSION_1", tmp_path / "none")
    monkeypatch.setattr(quota, "_VERSION_2", tmp_path / "neither")
    with pytest.raises(Unavailable, match="control groups"), limited(0.5):
        pass


@pytest.mark.parametrize(
    ("version", "written"),
    [("_VERSION_1", {"cpu.cfs_period_us": "20000", "cpu.cfs_quota_us": "5800"}), ("_VERSION_2", {"cpu.max": "5800 20000"})],
)
def test_a_share_is_written_as_each_version_reads_it(tmp_path, monkeypatch, version, written):
    for name in ("_VERSION_1", "_VERSION_2"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(quota, name, tmp_path / name)
    if version == "_VERSION_1":
        (tmp_path / version / "cpu.cfs_quota_us").write_text("-1")
    monkeypatch.setattr(quota, "_remove", lambda _: None)
    with limited(0.29):
        (group,) = (path for path in (tmp_path / version).iterdir() if path.is_dir())
    assert {file.name: file.read_text() for file in group.iterdir()} == written


def test_what_is_held_runs_and_its_group_is_gone_afterwards():
    try:
        with limited(0.5) as before:
            group = Path(before[2].split("> ")[1].split("/cgroup.procs")[0])
            line = [*before, sys.executable, "-c", "print(open('/proc/self/cgroup').read())"]
            told = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    except Unavailable:
        pytest.skip("this process may make no control group")
    assert group.name in told
    assert not group.exists()
