"""A version behind a SageMaker endpoint, as a model of the data plane: the same checks, shapes and answers as of one in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from .dataplane import MOST_ANSWERED_BYTES, answer_too_large, check_elements
from .errors import DeadlineExceeded, InvalidInput, ModelFailed, PayloadTooLarge, RegistryError, UnexpectedAnswer
from .fetch import Verifier, verified_manifest
from .manifest import ARCHIVE_FILE, Alias, Manifest, Reader, archive_version
from .rows import join, split
from .sagemaker import MAX_REQUEST_BYTES, Endpoint
from .tensors import Tensor, made
from .triton import decode_response, encode_request

__all__ = ["EndpointModel", "Manifests"]

_MOST_PARTS = 500  # one after the other, so that more would hardly end in time
_READY_SECONDS = 30.0  # for which an answer shows that the next one will come too
_HEADER_BYTES = 64 * 2**10  # kept of a request's size for what describes its tensors


class EndpointModel:
    """A version that an endpoint runs; satisfies `dataplane.Model` and `loader.Version`."""

    platform = "onnxruntime_onnx"

    def __init__(
        self,
        manifest: Manifest,
        endpoint: Endpoint,
        *,
        queued: bool = False,
        refuse_nan: bool = False,
        load_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`queued` says that the endpoint is asynchronous, with this version alone; else the version's archive is one of several."""
        self.name = manifest.name
        self.version = manifest.version
        self.labels = manifest.labels
        self.inputs = manifest.inputs
        self.outputs = manifest.outputs
        self.archive = archive_version(manifest.version[-8:])
        """What Triton calls this version."""
        self.load_seconds = load_seconds
        """For the manifest; what the endpoint takes to load is not known here."""
        self._max_batch = manifest.max_batch or 0
        self._batched = self._max_batch > 0
        self._endpoint = endpoint
        self._queued = queued
        self._refuse_nan = refuse_nan
        self._target = f"{self.name}/versions/{self.version}/{ARCHIVE_FILE}"
        self._clock = clock
        self._answered = float("-inf")

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        """The named outputs for `inputs` that fit the signature, within `seconds`; more rows than the endpoint takes go in parts.

        Raises `InvalidInput`, `PayloadTooLarge`, `UnexpectedAnswer`, and as `Endpoint.invoke` does.
        """
        ends = self._clock() + seconds
        check_elements(inputs, refuse_nan=self._refuse_nan)
        answers, size = [], 0
        for part in self._parts(inputs):
            left = ends - self._clock()
            if left <= 0:
                raise DeadlineExceeded(self.name, seconds)
            answers.append(self._ask(part, outputs, left))
            size += sum(memoryview(tensor.data).nbytes for tensor in answers[-1])
            if size > MOST_ANSWERED_BYTES:  # while the other parts have not been asked for
                raise answer_too_large()
        try:
            return answers[0] if len(answers) == 1 else join(answers)
        except ValueError as error:
            raise ModelFailed(self.name, f"{error}; send at most {self._max_batch} rows") from None

    def request(self, inputs: list[Tensor], outputs: list[str]) -> tuple[str, bytes]:
        """Content type and body of a request in one piece, for a queue. Raises `InvalidInput`."""
        check_elements(inputs, refuse_nan=self._refuse_nan)
        return encode_request(inputs, outputs)

    def warm_up(self, *, seconds: float) -> None:
        """One run on zeros and empty strings, dynamic dimensions taken as 1; a graph that refuses just these is warm too.

        It makes the endpoint fetch and load this version; a queue is not asked. Raises as `run` does.
        """
        if not self._queued:
            with suppress(ModelFailed):
                self.run([made(spec) for spec in self.inputs], [spec.name for spec in self.outputs], seconds=seconds)
            self._answered = self._clock()

    def ready(self, *, seconds: float) -> None:
        """Asks, as `warm_up` does, unless it has answered a moment ago."""
        if self._clock() - self._answered >= _READY_SECONDS:
            self.warm_up(seconds=seconds)

    def _ask(self, inputs: Sequence[Tensor], outputs: Sequence[str], seconds: float) -> list[Tensor]:
        specs = {spec.name: spec for spec in self.outputs}
        content_type, body = self._endpoint.invoke(
            *encode_request(inputs, outputs, batched=self._batched), None if self._queued else self._target, seconds=seconds
        )
        answer = decode_response(content_type, body, [specs[name] for name in outputs], archive=self.archive, batched=self._batched)
        rows = inputs[0].shape[:1]
        if self._batched and any(tensor.shape[:1] != rows for tensor in answer):
            raise UnexpectedAnswer(f"its outputs have other rows than the {rows[0]} of the request")
        self._answered = self._clock()
        return answer

    def _parts(self, inputs: list[Tensor]) -> Iterable[Sequence[Tensor]]:
        size = sum(memoryview(tensor.data).nbytes for tensor in inputs)
        most = MAX_REQUEST_BYTES - _HEADER_BYTES
        if self._max_batch:
            rows = inputs[0].shape[0]
            if rows > _MOST_PARTS * self._max_batch:
                advice = f"send at most {_MOST_PARTS * self._max_batch:,} at once"
                raise InvalidInput(f"the request has {rows:,} rows, and model {self.name!r} takes {self._max_batch} at a time; {advice}")
            return split(inputs, rows=self._max_batch, size=most)
        if size > most:
            raise PayloadTooLarge("the input", most, "send fewer rows")
        return [inputs]


class Manifests:
    """Makes an endpoint's model of what an alias names: its manifest is all that is read here."""

    def __init__(
        self, store: Reader, endpoint: Endpoint, verifier: Verifier | None = None, *, queued: bool = False, refuse_nan: bool = False
    ) -> None:
        """Without a `verifier` no signature is asked for; `queued` and `refuse_nan` are as of `EndpointModel`."""
        self._store = store
        self._endpoint = endpoint
        self._verifier = verifier
        self._queued = queued
        self._refuse_nan = refuse_nan

    def prefetch(self) -> None:
        """Begins with what a call will need of the verifier."""
        if self._verifier is not None:
            self._verifier.prefetch()

    def __call__(self, alias: Alias) -> EndpointModel:
        """Raises `UnverifiedModel`, and `RegistryError` for a version that was published for Lambda or another kind of endpoint."""
        begun = time.monotonic()
        manifest = verified_manifest(self._store, alias, self._verifier)
        if manifest.max_batch is None:
            raise RegistryError(
                f"version {manifest.version} of {manifest.name!r} has no {ARCHIVE_FILE}, which its endpoint loads; "
                f'publish it again with target = "gpu"'
            )
        if self._queued and manifest.max_batch:
            raise RegistryError(
                f"version {manifest.version} of {manifest.name!r} was published for a realtime endpoint, and this one is asynchronous; "
                f'`modelctl publish {manifest.name}` with mode = "async" in its model.toml makes one that runs'
            )
        seconds = time.monotonic() - begun
        return EndpointModel(manifest, self._endpoint, queued=self._queued, refuse_nan=self._refuse_nan, load_seconds=seconds)
