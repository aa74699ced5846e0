"""What a person may type for a version."""

from pathlib import Path

import pytest

from modelserve.registry import Registry
from tests.unit.modelctl.factories import published
from tools.modelctl.errors import UsageFailed, VersionAmbiguous
from tools.modelctl.versions import resolve


@pytest.fixture
def versions(registry: Registry, tmp_path: Path) -> list[str]:
    return [published(registry, tmp_path, body) for body in (b"1", b"2")]


def test_a_version_may_be_given_whole_or_by_its_hash_or_its_time(registry: Registry, versions: list[str]) -> None:
    first = versions[0]
    assert {resolve(registry, "fruit", text) for text in (first, first[-8:], first[:16])} == {first}


def test_latest_is_the_newest(registry: Registry, versions: list[str]) -> None:
    assert resolve(registry, "fruit", "latest") == versions[1]


def test_an_alias_stands_for_its_version(registry: Registry, versions: list[str]) -> None:
    registry.promote("fruit", versions[0], alias="staging", by="ann", reason="")
    assert resolve(registry, "fruit", "staging") == versions[0]


def test_a_part_of_several_versions_is_refused_with_all_of_them(registry: Registry, versions: list[str]) -> None:
    with pytest.raises(VersionAmbiguous, match=f"fits 2: {versions[0]}, {versions[1]}"):
        resolve(registry, "fruit", versions[0][:6])


@pytest.mark.parametrize("text", ["", "nothing", "ffffffffff"])
def test_a_part_of_no_version_is_refused(registry: Registry, versions: list[str], text: str) -> None:
    with pytest.raises(VersionAmbiguous, match="fits none"):
        resolve(registry, "fruit", text)


def test_without_any_version_the_command_to_run_is_told(registry: Registry) -> None:
    with pytest.raises(UsageFailed, match="modelctl publish fruit"):
        resolve(registry, "fruit", "latest")
