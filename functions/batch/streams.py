"""Scores a stream: records of Kinesis or DynamoDB in, one event a prediction out, and none twice under two names."""

from __future__ import annotations

import operator
import os
import re
import time
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import orjson

from modelserve import batching
from modelserve.errors import InvalidInput, PayloadTooLarge, ServeError
from modelserve.events import FAILED, MADE, MAX_EVENT_BYTES, Event, EventBus
from modelserve.fetch import LoadedModel
from modelserve.memory import hold
from modelserve.pool import Pool
from modelserve.protocol import InferRequest, InferResponse, encode, status_of
from modelserve.settings import STREAM_FILTER_PATTERN, BatchSettings, SettingsError, StreamSettings
from modelserve.tensors import Tensor, shortest, to_list

from .observability import Observer
from .records import Columns, StreamRecord

__all__ = ["App", "Filter"]

_MARGIN_SECONDS = 5.0  # of an invocation, kept to tell of what was run
_COMPARE = {">=": operator.ge, "<=": operator.le}
Outcome = InferResponse | ServeError


class Filter:
    """Which predictions are worth telling."""

    def __init__(self, text: str) -> None:
        """`text` is as `STREAM_FILTER_PATTERN` says, or empty. Raises `SettingsError`."""
        match = re.fullmatch(STREAM_FILTER_PATTERN, text)
        if text and match is None:
            raise SettingsError("TELL", text, "a label or an output, >= or <=, and a number, such as 'fraud >= 0.8'")
        self._terms = match.groups() if match else None

    def tells(self, response: InferResponse, labels: Sequence[str]) -> bool:
        """Raises `InvalidInput` where the model has no such label, nor an output of one number a record."""
        if self._terms is None:
            return True
        name, sign, limit = self._terms
        return bool(_COMPARE[sign](_number(response, labels, name), float(limit)))


def _number(response: InferResponse, labels: Sequence[str], name: str) -> float:
    outputs = {tensor.name: tensor for tensor in response.outputs}
    if name in labels and "probabilities" in outputs:
        return _numbers(outputs["probabilities"])[labels.index(name)]
    if name in outputs and len(values := _numbers(outputs[name])) == 1:
        return values[0]
    raise InvalidInput(
        f"what is told depends on {name!r}, which is neither a label of the model nor an output of one number a record; "
        f"labels: {', '.join(labels) or 'none'}; outputs: {', '.join(outputs)}"
    )


def _numbers(tensor: Tensor) -> list[float]:
    """As the event shows them: an FP32 that is written 0.7 is a little less than 0.7. Of text there are none."""
    values = [] if tensor.datatype == "BYTES" else to_list(tensor)
    return shortest(values) if tensor.datatype == "FP32" else values


class App:
    """All that one execution environment of the function of a stream holds."""

    def __init__(self, settings: BatchSettings, stream: StreamSettings, environ: Mapping[str, str]) -> None:
        (self._model_name,) = settings.model_names
        self._columns = Columns(stream.columns)
        self._filter = Filter(stream.tell)
        self._ends = 0.0
        self._observer = Observer(service=settings.service, namespace=settings.metrics_namespace, level=settings.log_level)
        self._pool = Pool(settings, environ, self._observer, remaining=self._remaining)
        self._bus = EventBus.from_environ(settings.service, environ, remaining=self._remaining)
        # Whatever the environment says of events: one holds records.
        self.handler = self._observer.logger.inject_lambda_context(log_event=False)(self.handle)

    def handle(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Tells Lambda where to begin again, if anywhere: at the first record whose prediction is not yet told.

        A record that the model can't take is told as failed, and the stream goes on; what may pass by is tried again.
        """
        begun = time.perf_counter()
        self._ends = time.monotonic() + context.get_remaining_time_in_millis() / 1000
        records = [record for record in map(StreamRecord, event["Records"]) if record.holds_fields]
        try:
            told, failed = self._score(records)
        except ServeError as error:  # nothing was run
            self._observer.log("ERROR", str(error), location="streams", model=self._model_name, error=error.kind)
            told, failed = 0, 0
        self._observe(len(records), told, latency=1000 * (time.perf_counter() - begun), done=failed is None)
        return {"batchItemFailures": [] if failed is None else [{"itemIdentifier": records[failed].sequence_number}]}

    def _score(self, records: Sequence[StreamRecord]) -> tuple[int, int | None]:
        """How many predictions were told, and the index of the first record to begin again at. Raises `ServeError` of the model."""
        if not records:
            return 0, None
        model = self._pool.model(self._model_name)
        outcomes = self._outcomes(model, records)
        final = list(takewhile(_is_final, outcomes))
        events = [(index, event) for index, each in enumerate(final) if (event := self._event(records[index], each, model)) is not None]
        lost = self._bus.put([event for _, event in events])
        if lost:
            return len(events) - len(lost), events[lost[0]][0]
        return len(events), len(final) if len(final) < len(records) else None

    def _outcomes(self, model: LoadedModel, records: Sequence[StreamRecord]) -> list[Outcome]:
        """Of each record, in order; those that fit the model run together."""
        requests = [self._request(record, model) for record in records]
        ready = [request for request in requests if isinstance(request, InferRequest)]
        answers = iter(batching.run(model, ready, seconds=self._remaining() - _MARGIN_SECONDS) if ready else ())
        return [next(answers) if isinstance(request, InferRequest) else request for request in requests]

    def _request(self, record: StreamRecord, model: LoadedModel) -> InferRequest | ServeError:
        try:
            return self._columns.request(record.fields(), model.inputs)
        except ServeError as error:
            return error

    def _event(self, record: StreamRecord, outcome: Outcome, model: LoadedModel) -> Event | None:
        """None where the prediction is not worth telling."""
        about = {"id": record.id, "model_name": model.name, "model_version": model.version, "key": record.key}
        try:
            if isinstance(outcome, ServeError):
                raise outcome
            if not self._filter.tells(outcome, model.labels):
                return None
            event = Event(kind=MADE, detail={**about, "outputs": _json(outcome)})
            if event.size > MAX_EVENT_BYTES:
                raise PayloadTooLarge("the prediction", MAX_EVENT_BYTES, "a stream's predictions are told by events; run the model by jobs")
        except ServeError as error:
            self._observer.log("WARNING", "record failed", location="streams", model=model.name, record=record.id, error=error.kind)
            return Event(kind=FAILED, detail={**about, "error": str(error), "status": status_of(error)})
        return event

    def _observe(self, records: int, told: int, *, latency: float, done: bool) -> None:
        self._observer.log("INFO", "records", location="streams", model=self._model_name, records=records, told=told, done=done)
        metrics = {"Records": float(records), "RecordsTold": float(told), "Latency": latency}
        self._observer.count(metrics, model=self._model_name, version="stream")

    def _remaining(self) -> float:
        return self._ends - time.monotonic()


def _is_final(outcome: Outcome) -> bool:
    """Not what is the store's, the function's or the clock's fault: another try may answer."""
    return isinstance(outcome, InferResponse) or status_of(outcome) < 500


def _json(response: InferResponse) -> Any:
    _, body = encode(response, InferRequest([]))
    return orjson.loads(body)["outputs"]


def _started(environ: Mapping[str, str]) -> App:
    return App(BatchSettings.from_env(environ), StreamSettings.from_env(environ), environ)


hold(int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")))
handler = _started(os.environ).handler
