"""AWS service events on one machine: what Step Functions and HealthImaging tell EventBridge goes to the rules' targets.

The AWS emulator refuses PutEvents for sources that begin with `aws.`, as AWS does for its customers. So this reads the
rules of the default bus, lets the emulator decide which patterns match (TestEventPattern), and calls their targets:
Lambda functions asynchronously, SQS queues by a message. As on AWS, delivery is best effort: it never fails the caller,
and an error is logged by the rule's name, without the event.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from local.aws import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_events.type_defs import TargetOutputTypeDef

    from local.aws import Aws

RULES_KEPT_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Rule:
    name: str
    pattern: str
    targets: Sequence[TargetOutputTypeDef]


class EventBus:
    """The default event bus, for the sources that PutEvents refuses. Safe to share between threads."""

    def __init__(self, aws: Aws, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._aws = aws
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._rules: Sequence[_Rule] = ()
        self._rules_expire = -1.0

    def deliver(self, *, source: str, detail_type: str, detail: Mapping[str, object], resources: Sequence[str] = ()) -> None:
        """Hand one event to the targets of every enabled rule that matches it. Never raises.

        The envelope is EventBridge's (EventBridge User Guide, "Events structure").
        """
        event: dict[str, Any] = {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": REGION,
            "resources": list(resources),
            "detail": dict(detail),
        }
        body = json.dumps(event)
        try:
            rules = self._current_rules()
        except (BotoCoreError, ClientError) as error:
            log.warning("Cannot read the event rules, an event is dropped: %s", type(error).__name__)
            return
        for rule in rules:
            with self._logged(rule):
                if self._aws.events.test_event_pattern(EventPattern=rule.pattern, Event=body)["Result"]:
                    for target in rule.targets:
                        with self._logged(rule):
                            self._call(rule, target, body)

    @staticmethod
    @contextmanager
    def _logged(rule: _Rule) -> Iterator[None]:
        """Keep an error of the emulator from the caller and from the other rules and targets."""
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            log.warning("The event rule %s did not reach its target: %s", rule.name, type(error).__name__)

    def _current_rules(self) -> Sequence[_Rule]:
        with self._lock:
            if self._monotonic() >= self._rules_expire:
                self._rules = self._read_rules()
                self._rules_expire = self._monotonic() + RULES_KEPT_SECONDS
            return self._rules

    def _read_rules(self) -> Sequence[_Rule]:
        events = self._aws.events
        listed = [rule for page in events.get_paginator("list_rules").paginate() for rule in page["Rules"]]
        return [
            _Rule(rule["Name"], rule["EventPattern"], events.list_targets_by_rule(Rule=rule["Name"])["Targets"])
            for rule in listed
            if rule.get("State") == "ENABLED" and rule.get("EventPattern")
        ]

    def _call(self, rule: _Rule, target: TargetOutputTypeDef, body: str) -> None:
        if "InputPath" in target or "InputTransformer" in target:
            log.warning("The event rule %s reshapes its input, which local delivery does not do", rule.name)
            return
        body = target.get("Input", body)
        arn = target["Arn"]
        service = arn.split(":")[2]
        if service == "lambda":
            self._aws.functions.invoke(FunctionName=arn, InvocationType="Event", Payload=body)
        elif service == "sqs":
            url = self._aws.sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
            self._aws.sqs.send_message(QueueUrl=url, MessageBody=body, **target.get("SqsParameters", {}))
        else:
            log.warning("The event rule %s has a target of %s: local delivery knows Lambda and SQS only", rule.name, service)
