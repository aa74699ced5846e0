"""The stand-in for `docker build`."""

from __future__ import annotations

import subprocess
from textwrap import dedent

import pytest

from tools.local import image, packages
from tools.local.assembly import ImageAsset
from tools.local.errors import LocalError
from tools.local.interpreter import command
from tools.local.stack import BUILD

HEAD = "ARG BASE_IMAGE=public.ecr.aws/lambda/python:3.13\nFROM ${BASE_IMAGE}\nWORKDIR /var/task\n"
HASHED = "typing-extensions==4.15.0 --hash=sha256:f0fa19c6845758ab08074a0cfa8b7aecb71c999ca73d62883bc25cc018c4e548\n"


@pytest.fixture
def build(tmp_path, monkeypatch):
    # The runtime's own packages are the same for every image; tests of the image need not install them again.
    monkeypatch.setattr(packages, "runtime", lambda _: BUILD)
    context = tmp_path / "context"
    (context / "app").mkdir(parents=True)
    (context / "app" / "__init__.py").write_text("WORD = 'built'\n")
    (context / "requirements.txt").write_text(HASHED)
    for name, interpreter in (("start", "/var/lang/bin/python3"), ("shell", "/bin/sh")):
        (context / name).write_text(f"#!{interpreter}\n")
        (context / name).chmod(0o755)

    def make(steps, *, head=HEAD, name="a1b2"):
        (context / "Dockerfile").write_text(head + dedent(steps))
        return image.build(ImageAsset(hash=name, context=context, dockerfile="Dockerfile", build_args={}), tmp_path / "cache")

    return make


def test_files_variables_and_command_are_those_of_the_dockerfile(build):
    root = build("""
        # a comment
        ENV ONE=1 \\
            TWO="two words"
        COPY app/ app/
        COPY app/__init__.py other.py
        CMD ["app.handler"]
    """)
    assert root.handler == "app.handler"
    assert root.environment == {"ONE": "1", "TWO": "two words"}
    assert (root.folder / "app" / "__init__.py").read_text() == (root.folder / "other.py").read_text() == "WORD = 'built'\n"


def test_code_has_bytecode_whatever_the_shell_says(build, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    root = build("COPY app/ app/\n")
    assert list((root.folder / "app" / "__pycache__").glob("__init__.*.pyc"))


def test_requirements_are_installed_and_seen_by_nobody_else(build):
    root = build("""
        COPY requirements.txt requirements.txt
        RUN python -m pip install --no-cache-dir --require-hashes --target . -r requirements.txt
        COPY app/ app/
        RUN python -m compileall -q . && python -c "import typing_extensions, app; assert app.WORD == 'built'"
    """)
    assert (root.folder / "typing_extensions.py").is_file()
    isolated = command(["-c", "import typing_extensions; print(typing_extensions.__file__)"], before=root.before)
    shown = subprocess.run(isolated, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == str(root.folder / "typing_extensions.py")


def test_a_failing_self_test_fails_the_build(build):
    with pytest.raises(LocalError, match="No module named 'numpy'"):
        build('RUN python -c "import numpy"\n')


def test_a_build_is_used_again_and_an_unfinished_one_never(build):
    first = build('COPY app/ app/\nCMD ["a.b"]\n')
    marker = first.folder / "marker"
    marker.touch()
    assert build('COPY app/ app/\nCMD ["a.b"]\n') == first
    assert marker.exists()
    with pytest.raises(LocalError, match="COPY missing"):
        build("COPY missing/ missing/\n", name="c3d4")
    with pytest.raises(LocalError, match="COPY missing"):
        build("COPY missing/ missing/\n", name="c3d4")


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("ADD x y\n", "ADD"),
        ("ENTRYPOINT x\n", "ENTRYPOINT"),
        ("RUN apt-get install x\n", "apt-get"),
        ("RUN pip install numpy\n", "requirements files only"),
        ("RUN pip install -r requirements.txt\n", "--require-hashes"),
        ("COPY --from=builder a b\n", "without options"),
        ("ENV A=$NOBODY\n", "NOBODY"),
        ("FROM public.ecr.aws/lambda/python:3.13\n", "one stage"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(build, steps, problem):
    with pytest.raises(LocalError, match=problem):
        build(steps)


def test_another_base_is_refused(build):
    with pytest.raises(LocalError, match="FROM debian"):
        build("", head="FROM debian\n")


def test_the_wrapper_that_the_image_names_starts_the_runtime(build):
    root = build("""
        COPY app/ app/
        COPY start start
        ENV AWS_LAMBDA_EXEC_WRAPPER=/var/task/start
        CMD ["app.handler"]
    """)
    assert root.wrapper == root.folder / "start"
    assert build("COPY app/ app/\n", name="c3d4").wrapper is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing", "no executable file"),
        ("Dockerfile", "no executable file"),
        ("app", "no executable file"),
        ("shell", "#!/var/lang/bin/python3"),
    ],
)
def test_a_wrapper_that_could_not_be_run_is_named(build, name, problem):
    with pytest.raises(LocalError, match=problem):
        build(f"COPY . .\nENV AWS_LAMBDA_EXEC_WRAPPER=/var/task/{name}\n")
