"""Rules and S3's events as EventBridge has them: moto 5.2.5 knows few targets, no input but its own, and schedules match every event."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from moto.events.models import Rule, events_backends
from moto.s3 import notifications

from tools.local import moto_queues, seam
from tools.local.assembly import Stack
from tools.local.input_transformer import target_input

__all__ = ["deliver_events", "notify"]

_Send = Callable[[Mapping[str, Any], str, Mapping[str, Any]], None]
_log = logging.getLogger(__name__)
_others = Rule.send_to_targets
_sequence = itertools.count(int(datetime.now(UTC).timestamp() * 1000) << 20)
_REASONS = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
    "ObjectRemoved:Delete": "DeleteObject",
}
"""Of objects that came or went; nothing is told of what else becomes of them, nor of markers of deletion."""


def deliver_events() -> None:
    """Teaches it to this process; once more changes nothing."""
    Rule.send_to_targets = _send_to_targets  # type: ignore[method-assign, assignment]
    notifications._send_event_bridge_message = _object_event


def notify(stack: Stack, names: Mapping[str, str], s3: Any) -> None:
    """Buckets whose template sends their events, which moto's CloudFormation overlooks; `names` by logical id."""
    for logical_id, properties in stack.resources("AWS::S3::Bucket"):
        if properties.get("NotificationConfiguration", {}).get("EventBridgeConfiguration", {}).get("EventBridgeEnabled", False):
            s3.put_bucket_notification_configuration(
                Bucket=names[logical_id], NotificationConfiguration={"EventBridgeConfiguration": {}}, SkipDestinationValidation=True
            )


def _send_to_targets(rule: Rule, original_event: Any, **_: bool) -> None:
    if rule.state != "ENABLED" or rule.event_pattern.dump() is None:
        return
    event = {**original_event, "time": _iso(original_event["time"])}
    received = _iso(event.pop("ingestion-time", event["time"]))
    if not rule.event_pattern.matches_event(event):  # type: ignore[arg-type]
        return
    for target in rule.targets:
        send = _TARGETS.get(target["Arn"].split(":")[2])
        if send:
            _deliver(rule, target, event, partial(_send, send, rule, target, event, received))
        else:
            _deliver(rule, target, event, partial(_as_moto, rule, target, original_event))


def _as_moto(rule: Rule, target: dict[str, Any], original_event: Any) -> None:
    """Targets that it knows: log groups, archives, other buses, API destinations."""
    alone = copy.copy(rule)
    alone.targets = [target]
    _others(alone, original_event, transform_input="ingestion-time" in original_event)


def _send(send: _Send, rule: Rule, target: Mapping[str, Any], event: dict[str, Any], received: str) -> None:
    send(target, target_input(event, target, rule=rule.name, rule_arn=rule.arn, received=received), event)


def _deliver(rule: Rule, target: Mapping[str, Any], event: dict[str, Any], send: Callable[[], None]) -> None:
    """What can't be delivered goes to the target's own DLQ."""
    try:
        send()
    except Exception as error:  # noqa: BLE001 - whoever put the event is not told
        dead_letters = target.get("DeadLetterConfig", {}).get("Arn")
        _log.warning("rule %s can't deliver to %s: %s", rule.name, target["Arn"], error)
        if dead_letters:
            attributes = {
                "RULE_ARN": rule.arn,
                "TARGET_ARN": target["Arn"],
                "ERROR_CODE": type(error).__name__,
                "ERROR_MESSAGE": str(error)[:1024] or "none",
            }
            moto_queues.send(dead_letters, json.dumps(event), attributes=attributes)


def _to_queue(target: Mapping[str, Any], text: str, _: Mapping[str, Any]) -> None:
    moto_queues.send(target["Arn"], text, group=target.get("SqsParameters", {}).get("MessageGroupId"))


def _to_function(target: Mapping[str, Any], text: str, _: Mapping[str, Any]) -> None:
    seam.invoke_later(target["Arn"].split(":function:")[1].partition(":")[0], text.encode())


def _to_machine(target: Mapping[str, Any], text: str, event: Mapping[str, Any]) -> None:
    from moto.stepfunctions.responses import get_backend  # noqa: PLC0415 - executing machines brings a parser along

    account, region = target["Arn"].split(":")[4], target["Arn"].split(":")[3]
    name = f"{event['id']}_{uuid.uuid4()}"
    get_backend(account, region).start_execution(target["Arn"], name=name, execution_input=text)


_TARGETS: dict[str, _Send] = {"sqs": _to_queue, "lambda": _to_function, "states": _to_machine}


def _object_event(account_id: str, bucket: Any, event_name: str, key: Any) -> None:
    """As https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html shows it."""
    what = str(getattr(event_name, "value", event_name)).removeprefix("s3:")
    if what not in _REASONS or (what == "ObjectCreated:Put" and key.multipart):
        return  # an upload in parts is told of twice
    about = {"key": key.name, "size": key.size, "etag": key.etag.strip('"'), "sequencer": f"{next(_sequence):018X}"}
    if bucket.is_versioned:
        about["version-id"] = key.version_id
    detail = {
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": about,
        "request-id": uuid.uuid4().hex[:16].upper(),
        "requester": account_id,
        "source-ip-address": "127.0.0.1",
        "reason": _REASONS[what],
    }
    if what == "ObjectRemoved:Delete":
        detail["deletion-type"] = "Permanently Deleted"
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": notifications._detail_type(event_name),
        "source": "aws.s3",
        "account": account_id,
        "time": datetime.now(UTC).timestamp(),
        "region": bucket.region_name,
        "resources": [bucket.arn],
        "detail": detail,
    }
    for rule in list(events_backends[account_id][bucket.region_name].event_buses["default"].rules.values()):
        rule.send_to_targets(event)  # type: ignore[arg-type]


def _iso(time: Any) -> str:
    """Of seconds or of a time; of text, that."""
    if isinstance(time, str):
        return time
    moment = time if isinstance(time, datetime) else datetime.fromtimestamp(time, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
