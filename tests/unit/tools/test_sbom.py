"""The bill of materials names what the image and the layer really install."""

from __future__ import annotations

import copy
import json
from importlib.metadata import distributions
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from tools import layers, sbom

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", params=sbom.BILLS)
def bill(request):
    return sbom.bill(request.param)


def test_it_is_strictly_valid_cyclonedx(bill):
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(bill)) is None


def test_every_package_has_one_wheel_its_hash_its_purl_and_a_licence(bill):
    for component in bill["components"]:
        (wheel,) = component["externalReferences"]
        assert component["hashes"] == wheel["hashes"]
        assert [each["alg"] for each in component["hashes"]] == ["SHA-256"]
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
        assert component["licenses"]


def test_every_dependency_is_a_component(bill):
    known = {each["bom-ref"] for each in bill["components"]}
    assert {ref for edge in bill["dependencies"] for ref in edge["dependsOn"]} == known
    assert {edge["ref"] for edge in bill["dependencies"]} - {bill["metadata"]["component"]["bom-ref"]} == known


def test_the_images_is_what_its_requirements_install_on_python_3_13():
    """The same packages and versions, each by a hash that pip would accept."""
    hashes = {}
    for block in (ROOT / "functions/predict/requirements-native.txt").read_text("utf-8").replace("\\\n", " ").splitlines():
        requirement = Requirement(block.partition(" --hash")[0])
        if requirement.marker is None or requirement.marker.evaluate({"python_full_version": "3.13.5", "sys_platform": "linux"}):
            hashes[f"{requirement}".partition(";")[0].strip()] = block
    components = sbom.bill("predict-image")["components"]
    assert {f"{each['name']}=={each['version']}" for each in components} == set(hashes)
    for each in components:
        assert f"--hash=sha256:{each['hashes'][0]['content']}" in hashes[f"{each['name']}=={each['version']}"]


def test_the_layers_is_what_the_built_layer_has():
    layers.build()
    installed = {(each.name, each.version) for each in distributions(path=[str(layers.DEPENDENCIES / "python")])}
    found = {(each["name"], each["version"]) for each in sbom.bill("dependencies-layer")["components"]}
    assert {(name.replace("_", "-"), version) for name, version in installed} == found


def test_the_wheel_is_the_one_for_awss_python(bill):
    """Never one of another interpreter, system or processor, of which uv lists dozens."""
    for component in bill["components"]:
        file = component["externalReferences"][0]["url"].rsplit("/", 1)[1]
        assert file.endswith(("-none-any.whl", "x86_64.whl"))
        assert "musllinux" not in file
        assert any(f"-{tag}-" in file for tag in ("cp313", "abi3", "py3", "py2.py3")), file


def test_a_package_without_a_wheel_for_aws_is_named(monkeypatch):
    document = sbom._export("layer")
    broken = copy.deepcopy(document)
    broken["components"][0]["externalReferences"] = [{"url": "https://example.com/a-1.0.tar.gz", "hashes": []}]
    monkeypatch.setattr(sbom, "_export", lambda _: broken)
    with pytest.raises(sbom.NoWheel, match=document["components"][0]["name"]):
        sbom.bill("dependencies-layer")


def test_each_deployable_gets_a_file(tmp_path):
    sbom.main(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {f"{name}.cdx.json" for name in sbom.BILLS}
