"""The contents of an image are compared with the sources and the bill of materials; a base image is taken or made."""

from __future__ import annotations

import json
import sys

import pytest

from tests.image import base, docker, image
from tools import sbom

IMAGE = image.Image(folder="predict", name="predict:test", command=("h",), size=2, added=1)


@pytest.fixture
def inside(monkeypatch):
    """What the image holds, as a test may change it."""
    packages = {each["name"]: each["version"] for each in sbom.bill("predict-image")["components"]}
    found = {"packages": packages, "files": sorted(image._sources("predict")), "uncompiled": []}
    monkeypatch.setattr(image, "run", lambda *_: json.dumps(found))
    return found


def test_an_image_of_the_lock_and_the_sources_is_accepted(inside):
    assert image.check_contents(IMAGE) == len(inside["packages"])
    assert {"functions/predict/handler.py", "modelserve/session.py"} <= set(inside["files"])


def test_another_version_than_the_locks_is_told(inside):
    inside["packages"]["numpy"] = "1.0"
    with pytest.raises(docker.ImageError, match=r"packages of the bill of materials differ.*numpy.*1\.0"):
        image.check_contents(IMAGE)


def test_a_file_that_is_not_ours_or_lost_its_bytecode_is_told(inside):
    inside["files"].append("functions/predict/.env")
    with pytest.raises(docker.ImageError, match=r"unexpected \['functions/predict/\.env'\]"):
        image.check_contents(IMAGE)


def test_a_module_without_bytecode_is_told(inside):
    inside["uncompiled"].append("modelserve/s3.py")
    with pytest.raises(docker.ImageError, match=r"without bytecode differ: missing \[\], unexpected \['modelserve/s3\.py'\]"):
        image.check_contents(IMAGE)


def test_a_named_base_image_is_pulled_and_pip_reaches_its_index(monkeypatch):
    lines = []
    monkeypatch.setattr(base, "run", lambda *words: lines.append(words))
    found = base.base({"BASE_IMAGE": "public.ecr.aws/lambda/python:3.13"})
    assert (found.name, found.network) == ("public.ecr.aws/lambda/python:3.13", "host")
    assert lines == [("docker", "pull", "--quiet", "public.ecr.aws/lambda/python:3.13")]


def test_a_program_that_fails_is_told_with_its_output():
    with pytest.raises(docker.ImageError, match="failed with 3:\nwhy"):
        docker.run(sys.executable, "-c", "import sys; print('why'); sys.exit(3)")


def test_a_program_that_is_missing_is_told_with_what_to_install():
    with pytest.raises(docker.ImageError, match="no-such-program is not installed; install it"):
        docker.run("no-such-program")
