"""What a cold start asks the network for, before it imports what makes something of the answer: whoever waits for both waits once."""

# ruff: noqa: E402 - the order of the imports is what this module is for

from __future__ import annotations

import os
import time

from modelserve._lazy import postpone

postpone("inspect")  # orjson imports dataclasses, which imports it for classes that nobody makes here: half of orjson's import

from modelserve.manifest import alias_key
from modelserve.s3 import S3Reader
from modelserve.settings import PredictSettings

__all__ = ["SETTINGS", "STORE"]

_SECONDS = 8.0  # as `invocation` gives INIT
_ends = time.monotonic() + _SECONDS
SETTINGS = PredictSettings.from_env(os.environ)
STORE = S3Reader.from_environ(SETTINGS.model_bucket, os.environ, remaining=lambda: _ends - time.monotonic())
STORE.begin(alias_key(SETTINGS.model_name, SETTINGS.model_alias))
