"""What a model's function reaches over the network: begun before the rest of a cold start is imported, so it imports little itself."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ._typing import TYPE_CHECKING
from .fetch import verifier
from .manifest import alias_key
from .s3 import S3Reader

if TYPE_CHECKING:
    from ._connections import Connections, KeptConnection
    from .settings import GatewaySettings, PredictSettings

__all__ = ["INIT_SECONDS", "Upstream"]

INIT_SECONDS = 8.0
"""For INIT, of the 10 that Lambda gives; imports take their time from these too."""


class Upstream:
    """The model store, whoever verifies manifests, and the time there is for both."""

    def __init__(
        self,
        settings: PredictSettings | GatewaySettings,
        environ: Mapping[str, str],
        *,
        seconds: float,
        store: Connections | None = None,
        kms: KeptConnection | None = None,
    ) -> None:
        """Nothing takes longer than `seconds` from now on, unless `ends` is set anew. `store` and `kms` may be opened ahead."""
        self.ends = time.monotonic() + seconds
        """When this invocation, or INIT, must be over."""
        self.store = S3Reader.from_environ(settings.model_bucket, environ, remaining=self.remaining, connections=store)
        self.verifier = verifier(settings.signing_key_arn, environ, remaining=self.remaining, connection=kms)
        self._alias = alias_key(settings.model_name, settings.model_alias)

    def remaining(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    def begin(self) -> None:
        """Asks for the alias and the signing key, and waits for neither."""
        self.store.begin(self._alias)
        if self.verifier is not None:
            self.verifier.prefetch()

    def close(self) -> None:
        """Lets go of every connection; the next request opens another."""
        self.store.close()
