"""SnapStart's hooks: what an environment does before Lambda takes a snapshot of it, and in each of the many that are restored from it.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
"""

from __future__ import annotations

import gc
import os
import sys

from ._typing import Protocol

__all__ = ["Suspended", "register"]


class Suspended(Protocol):
    """What is frozen: `invocation.App`."""

    def suspend(self) -> None:
        """Leaves nothing open that a snapshot does not keep, and everything loaded that it does."""

    def resume(self) -> None:
        """Asks anew for all that may have changed since."""


def register(app: Suspended) -> None:
    """Has Lambda's runtime client call the hooks: what they raise would fail the publication of the version, or the restore."""
    # The runtime brings it along, and only a function with snapshots imports it.
    from snapshot_restore_py import register_after_restore, register_before_snapshot  # type: ignore[import-untyped] # noqa: PLC0415

    register_before_snapshot(_before, app)
    register_after_restore(_after, app)


def _before(app: Suspended) -> None:
    app.suspend()
    gc.collect()
    gc.freeze()


def _after(app: Suspended) -> None:
    _reseed()
    app.resume()


def _reseed() -> None:
    """Else all that is restored from one snapshot draws the same numbers; what nobody has imported has no state yet.

    `os.urandom`, which the library itself draws from, is the kernel's, and is reseeded by Lambda. OpenSSL is made to draw from it anew.
    """
    if random := sys.modules.get("random"):
        random.seed()
    if ssl := sys.modules.get("ssl"):
        ssl.RAND_add(os.urandom(48), 48.0)
