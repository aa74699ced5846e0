"""What a cold start waits for, begun before it imports what makes something of it: alias and signing key, and ONNX Runtime's library."""

# ruff: noqa: E402 - the order of the imports is what this module is for

from __future__ import annotations

import gc
import os

gc.disable()  # nothing that an import makes is garbage; `App.start` enables it again

from modelserve._dial import Dial
from modelserve._hosts import bucket_address, s3_of, service_url
from modelserve.settings import PredictSettings

__all__ = ["SETTINGS", "UPSTREAM"]

SETTINGS = PredictSettings.from_env(os.environ)

_REGION, _ENDPOINT = s3_of(os.environ)
_STORE = bucket_address(SETTINGS.model_bucket, region=_REGION, endpoint=_ENDPOINT)[0]
_DIALS = Dial(_STORE), Dial(_STORE)
_KMS_DIAL = Dial(service_url("kms", os.environ)) if SETTINGS.signing_key_arn else None

from modelserve._connections import Connections, KeptConnection

_CONNECTIONS, _KMS = Connections.to(_STORE), KeptConnection()
_CONNECTIONS.open(2, _DIALS)
if _KMS_DIAL is not None:
    _KMS.open(_KMS_DIAL.host, secure=_KMS_DIAL.secure, dial=_KMS_DIAL)

from modelserve._background import Background

if SETTINGS.session_backend == "native":
    from modelserve._ort import api

    # Takes as long as all imports, without Python's lock; what it raises, the first session raises again.
    Background(api, finishes=True)

from modelserve._lazy import postpone

postpone("inspect")  # orjson imports dataclasses, which imports it for classes that nobody makes here: three quarters of orjson's import

from modelserve.upstream import INIT_SECONDS, Upstream

UPSTREAM = Upstream(SETTINGS, os.environ, seconds=INIT_SECONDS, store=_CONNECTIONS, kms=_KMS)
UPSTREAM.begin()

from .marshalling import postpone_usual

postpone_usual()


def _preload() -> None:
    from modelserve.session import preload  # noqa: PLC0415 - on a thread of its own

    preload(SETTINGS.session_backend)


Background(_preload, finishes=True)
