"""Reading cdk.out."""

from __future__ import annotations

import pytest

from tests.local.factories import a_stack, write_assembly
from tools.local.assembly import Assembly, Stack
from tools.local.errors import LocalError


def test_stacks_come_in_the_order_of_their_dependencies(tmp_path):
    names = ["Tiny-c", "Tiny-a", "Tiny-b"]
    assembly = Assembly.load(write_assembly(tmp_path / "cdk.out", *map(a_stack, names)), "dev")
    assert [stack.name for stack in assembly.stacks] == names


def test_a_stack_without_resources_is_not_there(tmp_path):
    empty = Stack(name="Tiny-empty", template={"Parameters": {}})
    assembly = Assembly.load(write_assembly(tmp_path / "cdk.out", a_stack("Tiny-a"), empty, a_stack("Tiny-b")), "dev")
    assert [stack.name for stack in assembly.stacks] == ["Tiny-a", "Tiny-b"]


def test_assets_are_found_where_they_were_staged(tmp_path):
    assembly = Assembly.load(write_assembly(tmp_path / "cdk.out", a_stack()), "dev")
    (asset,) = assembly.files.values()
    assert (asset.bucket, asset.key, asset.is_folder) == ("assets-123456789012-us-east-1", "code.zip", True)
    assert (asset.source / "app.py").is_file()


def test_what_was_not_synthesized_is_named_with_what_to_do(tmp_path):
    with pytest.raises(LocalError, match="make synth"):
        Assembly.load(tmp_path, "dev")


def test_an_unknown_deployment_is_named_with_those_there_are(tmp_path):
    with pytest.raises(LocalError, match="'prod'; it has: dev"):
        Assembly.load(write_assembly(tmp_path / "cdk.out", a_stack()), "prod")
