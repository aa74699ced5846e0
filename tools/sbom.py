"""Writes what ships as CycloneDX 1.5, the images and the layer a file each: uv's export of the lock, narrowed to what AWS gets.

uv lists every file of every platform; one wheel of each package is installed, and that is the one whose hash stands here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

__all__ = ["BILLS", "FOLDER", "PLATFORMS", "NoWheel", "bill", "main"]

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "sbom"
_NATIVE = ("--prune", "flatbuffers", "--prune", "packaging", "--prune", "protobuf")
"""What only the Python binding of ONNX Runtime needs; the images hold its library."""
BILLS = {
    "predict-image": ("predict", *_NATIVE, "--prune", "numpy"),
    "batch-image": ("batch", *_NATIVE),
    "predict-binding-image": ("predict",),
    "batch-binding-image": ("batch",),
    "dependencies-layer": ("layer",),
}
"""The dependency group that each deployable installs, and options for what it leaves out; `session_backend` may ask for `binding`."""
PLATFORMS = [*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)), "manylinux2014_x86_64"]
"""What runs on AWS's Python 3.13, the best first."""
_TAGS = {tag: rank for rank, tag in enumerate([*cpython_tags((3, 13), platforms=PLATFORMS), *compatible_tags((3, 13), "cp313", PLATFORMS)])}
_ENVIRONMENT = {
    "python_version": "3.13",
    "python_full_version": "3.13.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "os_name": "posix",
}


class NoWheel(Exception):
    """A locked package has no wheel for AWS's Python."""

    def __init__(self, component: str) -> None:
        super().__init__(f"uv.lock has no wheel of {component} for Python 3.13 on x86_64 Linux; lock a version that has one")


def bill(name: str) -> dict[str, Any]:
    """The CycloneDX document of a deployable of `BILLS`. Raises `NoWheel`."""
    document: dict[str, Any] = _export(*BILLS[name])
    components = [_component(each) for each in document["components"] if _applies(each)]
    kept = {each["bom-ref"] for each in components}
    root = {"type": "container" if name.endswith("image") else "library", "bom-ref": name, "name": name}
    root["version"] = document["metadata"]["component"]["version"]
    edges = [each for each in document["dependencies"] if each["ref"] in kept]
    for edge in edges:
        edge["dependsOn"] = [ref for ref in edge.get("dependsOn", []) if ref in kept]
    document["metadata"]["component"] = root
    return {**document, "components": components, "dependencies": [{"ref": name, "dependsOn": sorted(kept)}, *edges]}


def main(folder: Path = FOLDER) -> None:
    """Writes every bill into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in BILLS:
        document = bill(name)
        file = folder / f"{name}.cdx.json"
        file.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        print(f"{file}  {len(document['components'])} packages")


def _export(group: str, *pruned: str) -> dict[str, Any]:
    options = ("--frozen", "--only-group", group, *pruned, "--no-emit-project", "--preview-features", "sbom-export", "--quiet")
    line = [str(Path(sys.executable).with_name("uv")), "export", "--format", "cyclonedx1.5", *options]
    document: dict[str, Any] = json.loads(subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return document


def _applies(component: dict[str, Any]) -> bool:
    markers = [each["value"] for each in component.get("properties", []) if each["name"] == "uv:package:marker"]
    return all(Marker(marker).evaluate(_ENVIRONMENT) for marker in markers)


def _component(component: dict[str, Any]) -> dict[str, Any]:
    wheels = [each for each in component["externalReferences"] if _rank(each) < len(_TAGS)]
    if not wheels:
        raise NoWheel(component["bom-ref"])
    wheel = min(wheels, key=_rank)
    kept = {key: value for key, value in component.items() if key != "properties"}
    return {**kept, "hashes": wheel["hashes"], "licenses": _licenses(component["name"]), "externalReferences": [wheel]}


def _rank(reference: dict[str, Any]) -> int:
    """How well a file of the lock fits; the number of tags for one that does not."""
    try:
        tags = parse_wheel_filename(reference["url"].rsplit("/", 1)[-1])[3]
    except InvalidWheelFilename:
        return len(_TAGS)
    return min((_TAGS[tag] for tag in tags if tag in _TAGS), default=len(_TAGS))


def _licenses(name: str) -> list[dict[str, Any]]:
    """As the package itself says: an SPDX expression, its classifiers, or its own words."""
    told = metadata(name)
    if expression := told.get_all("License-Expression"):
        return [{"expression": expression[0]}]
    classified = [each.rsplit(" :: ", 1)[1] for each in told.get_all("Classifier", []) if each.startswith("License :: ")]
    return [{"license": {"name": each}} for each in classified or told.get_all("License", [])]


if __name__ == "__main__":
    main()
