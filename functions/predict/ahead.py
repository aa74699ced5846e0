"""What a cold start waits for, begun before it imports what makes something of it: ONNX Runtime's library, alias and signing key."""

# ruff: noqa: E402 - the order of the imports is what this module is for

from __future__ import annotations

import gc
import os

gc.disable()  # nothing that an import makes is garbage; `App.start` enables it again

from modelserve._background import Background
from modelserve.settings import PredictSettings

__all__ = ["SETTINGS", "UPSTREAM"]

SETTINGS = PredictSettings.from_env(os.environ)

if SETTINGS.session_backend == "native":
    from modelserve._ort import api

    Background(api)  # takes as long as all imports, without Python's lock; what it raises, the first session raises again

from modelserve._connections import Connections
from modelserve._hosts import bucket_address, s3_of

_REGION, _ENDPOINT = s3_of(os.environ)
_CONNECTIONS = Connections.to(bucket_address(SETTINGS.model_bucket, region=_REGION, endpoint=_ENDPOINT)[0])
_CONNECTIONS.open(2)  # to connect takes as long as to import what asks for something

from modelserve._lazy import postpone

postpone("inspect")  # orjson imports dataclasses, which imports it for classes that nobody makes here: three quarters of orjson's import

from modelserve.upstream import INIT_SECONDS, Upstream

UPSTREAM = Upstream(SETTINGS, os.environ, seconds=INIT_SECONDS, connections=_CONNECTIONS)
UPSTREAM.begin()


def _preload() -> None:
    from modelserve.session import preload  # noqa: PLC0415 - on a thread of its own

    preload(SETTINGS.session_backend)


Background(_preload)
