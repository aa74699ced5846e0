"""Understands what a person types for a version: all of it, a part, an alias, or `latest`."""

from __future__ import annotations

from contextlib import suppress

from modelserve.errors import AliasNotFound
from modelserve.manifest import ALIAS_NAME
from modelserve.registry import Registry
from tools.modelctl.errors import UsageFailed, VersionAmbiguous

__all__ = ["resolve"]


def resolve(registry: Registry, name: str, text: str) -> str:
    """A version of `name`: exactly, `latest`, what an alias names, or the start or end of just one.

    Raises `UsageFailed` when nothing is published, `VersionAmbiguous` when the text fits no version, or more than one,
    `UnverifiedModel` for an alias that can't be read.
    """
    versions = registry.versions(name)
    if not versions:
        raise UsageFailed(f"no version of {name!r} is published here; run: modelctl publish {name}")
    if text in versions:
        return text
    if text == "latest":
        return versions[-1]
    if ALIAS_NAME.fullmatch(text):
        with suppress(AliasNotFound):
            return registry.alias(name, text).version
    fitting = [version for version in versions if text and (version.startswith(text) or version.endswith(text))]
    if len(fitting) != 1:
        raise VersionAmbiguous(name, text, fitting)
    return fitting[0]
