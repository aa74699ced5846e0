"""What the process that opens a file can't do, tried in one that holds itself as that does."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tools.modelctl.frameworks import sandbox

TRIES = """
import ctypes, json, os, resource, socket, subprocess, sys
from pathlib import Path
sys.path.insert(0, {room!r})
import sandbox

scratch, home = Path({scratch!r}), {home!r}
isolated = sandbox.isolate()
sandbox.hold(seconds=9, memory=2**30)
sandbox.seal(scratch, readable=[Path(home, ".models")], home=home)

def connect():
    raw = ctypes.CDLL(None)  # past Python's events, as native code would
    made = raw.socket(2, 1, 0)
    address = (2).to_bytes(2, sys.byteorder) + ({port}).to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
    return raw.connect(made, address, 16) == 0

tries = {{
    "write inside": lambda: (scratch / "x").write_text("x"),
    "remove inside": lambda: (scratch / "x").unlink(),
    "write outside": lambda: Path(home, "x").write_text("x"),
    "append outside": lambda: open(Path(home, "kept"), "a"),
    "remove outside": lambda: Path(home, "kept").unlink(),
    "rename outside": lambda: Path(home, "kept").rename(scratch / "kept"),
    "link to outside": lambda: os.symlink(Path(home, ".aws"), scratch / "aws"),
    "directory outside": lambda: os.mkdir(Path(home, "made")),
    "write through ..": lambda: open(f"{{scratch}}/../x", "w"),
    "read what is open": lambda: Path(home, "kept").read_text(),
    "read a readable hidden file": lambda: Path(home, ".models", "kept").read_text(),
    "read credentials": lambda: Path(home, ".aws", "credentials").read_text(),
    "read credentials by ..": lambda: open(f"{{home}}/.models/../.aws/credentials"),
    "read credentials by /proc": lambda: open(f"/proc/self/root{{home}}/.aws/credentials"),
    "read credentials by /dev": lambda: open(f"/dev/fd/../root{{home}}/.aws/credentials"),
    "read credentials by a path to /dev": lambda: open(f"/usr/../dev/fd/../root{{home}}/.aws/credentials"),
    "start a program": lambda: subprocess.run(["true"]),
    "shell": lambda: os.system("true"),
    "fork": os.fork,
    "end a process": lambda: os.kill(os.getppid(), 0),
    "connect": lambda: socket.create_connection(("127.0.0.1", {port})),
    "look a name up": lambda: socket.getaddrinfo("localhost", 80),
    "a file of 5 GB": lambda: os.truncate(scratch / "large", 5 * 2**30),
    "2 GB of memory": lambda: bytearray(2**31),
}}
found = {{"isolated": isolated, "reached": connect(), "core": resource.getrlimit(resource.RLIMIT_CORE)[0]}}
(scratch / "large").write_text("")
for name, attempt in tries.items():
    try:
        attempt()
        found[name] = "done"
    except BaseException as error:
        found[name] = type(error).__name__
print(json.dumps(found))
"""


FILES = ("kept", ".aws/credentials", ".models/kept")


def world(factory: pytest.TempPathFactory) -> Path:
    """A home folder with what may be read and what may not, and a folder that is the process's own."""
    root = factory.mktemp("held").resolve()
    for name in ("scratch", "home/.aws", "home/.models"):
        (root / name).mkdir(parents=True)
    for name in FILES:
        (root / "home" / name).write_text("kept")
    return root


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    root = world(tmp_path_factory)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        program = textwrap.dedent(TRIES).format(
            room=str(Path(sandbox.__file__).parent),
            scratch=str(root / "scratch"),
            home=str(root / "home"),
            port=server.getsockname()[1],
        )
        done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert (root / "home/kept").read_text() == "kept"
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", ["write inside", "remove inside", "read what is open", "read a readable hidden file"])
def test_what_opening_a_model_takes_is_let_through(found: dict[str, object], name: str) -> None:
    assert found[name] == "done"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "write outside",
            "append outside",
            "remove outside",
            "rename outside",
            "link to outside",
            "directory outside",
            "write through ..",
        ),
        *("read credentials", "read credentials by ..", "read credentials by /proc", "read credentials by /dev"),
        "read credentials by a path to /dev",
        *("start a program", "shell", "fork", "end a process", "connect", "look a name up"),
    ],
)
def test_what_it_does_not_take_is_refused(found: dict[str, object], name: str) -> None:
    assert found[name] == "Refusal"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound neither")
def test_the_kernel_bounds_files_memory_and_what_a_crash_leaves(found: dict[str, object]) -> None:
    assert found["a file of 5 GB"] == "OSError"
    assert found["2 GB of memory"] == "MemoryError"
    assert found["core"] == 0


def test_native_code_reaches_no_network_either(found: dict[str, object]) -> None:
    if not found["isolated"]:
        pytest.skip("this system doesn't let a process leave the network")
    assert found["reached"] is False


NATIVE = """
import ctypes, json, os, sys
sys.path.insert(0, {room!r})
import sandbox

scratch, home = {scratch!r}, {home!r}
libc = ctypes.CDLL(None, use_errno=True)
confined = sandbox.confine([*sandbox._READABLE, f"{{home}}/.models"], [scratch, "/dev/null"])

def opens(path, flags=os.O_RDONLY):
    return libc.open(path.encode(), flags, 0o600) >= 0

def starts(path):
    return libc.posix_spawn(ctypes.byref(ctypes.c_int()), path.encode(), None, None, (ctypes.c_char_p * 2)(path.encode()), None) == 0

print(json.dumps({{
    "confined": confined,
    "write inside": opens(f"{{scratch}}/x", os.O_WRONLY | os.O_CREAT),
    "remove inside": libc.unlink(f"{{scratch}}/x".encode()) == 0,
    "write nowhere": opens("/dev/null", os.O_WRONLY),
    "read what is given": opens(f"{{home}}/.models/kept"),
    "read a library's folder": opens("/usr/lib"),
    "write outside": opens(f"{{home}}/x", os.O_WRONLY | os.O_CREAT),
    "write what is given": opens(f"{{home}}/.models/kept", os.O_WRONLY),
    "empty what is given": libc.truncate(f"{{home}}/.models/kept".encode(), 0) == 0,
    "remove outside": libc.unlink(f"{{home}}/kept".encode()) == 0,
    "move outside": libc.rename(f"{{home}}/kept".encode(), f"{{scratch}}/kept".encode()) == 0,
    "link to outside": libc.link(f"{{home}}/kept".encode(), f"{{scratch}}/linked".encode()) == 0,
    "read outside": opens(f"{{home}}/kept"),
    "read credentials": opens(f"{{home}}/.aws/credentials"),
    "read credentials by /dev": opens(f"/dev/fd/../root{{home}}/.aws/credentials"),
    "read another's environment": opens(f"/proc/{{os.getppid()}}/environ"),
    "read passwords": opens("/etc/shadow"),
    "start a program": starts("/bin/true"),
}}))
"""


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """The same past Python's events, in a process that only the kernel holds."""
    root = world(tmp_path_factory)
    program = NATIVE.format(room=str(Path(sandbox.__file__).parent), scratch=str(root / "scratch"), home=str(root / "home"))
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    found = dict(json.loads(done.stdout))
    if not found["confined"]:
        pytest.skip("this system has no Landlock")
    assert all((root / "home" / name).read_text() == "kept" for name in FILES)
    return found


@pytest.mark.parametrize("name", ["write inside", "remove inside", "write nowhere", "read what is given", "read a library's folder"])
def test_native_code_does_what_opening_a_model_takes(native: dict[str, bool], name: str) -> None:
    assert native[name]


@pytest.mark.parametrize(
    "name",
    [
        *("write outside", "write what is given", "empty what is given", "remove outside", "move outside", "link to outside"),
        *("read outside", "read credentials", "read credentials by /dev", "read another's environment", "read passwords"),
        "start a program",
    ],
)
def test_native_code_does_nothing_else(native: dict[str, bool], name: str) -> None:
    assert not native[name]


def test_a_system_without_landlock_is_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sandbox.confine([], []) is False
