"""Dead letters: why each is there, and what gives it back to whoever should have dealt with it.

A letter is deleted only after that has happened, so one that is given back twice is the worst that a crash can do; all of
ours are harmless twice.

- A message of `inbound` starts its execution here and now: back in its queue it would get a new SentTimestamp, and count as
  newer than what came after it (lambdas.logic.order).
- An event about an execution is followed here and now.
- Any other goes back to the queue whose dead letters these are, as StartMessageMoveTask would do it.
- What can never be dealt with stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from console.aws.queues import Message
from console.errors import CloudError
from console.stack import Stack
from contract.message import InboundMessage
from contract.strict import ContractError, from_json
from lambdas.errors import IngestError
from lambdas.logic.following import follow
from lambdas.logic.starting import start

LETTERS_MAX = 1000
"""How many letters of a queue one command looks at."""

ASSOCIATION, EXECUTION, MALFORMED = "association", "execution", "malformed"
"""Kinds of letters: a message of `inbound`, an event about an execution, and what is none of ours."""

_HIDDEN_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """A queue, by its name. `oldest_seconds` is None where nothing is measured; `dead_letters` is a queue's name, or empty."""

    name: str
    url: str
    waiting: int
    taken: int
    oldest_seconds: float | None
    dead_letters: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter: of what kind, about what (an id), and why it is there."""

    message: Message
    kind: str
    about: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """What became of a letter; `stays` when it is still in the queue."""

    letter: Letter
    said: str
    stays: bool = False


def depths(stack: Stack) -> list[Depth]:
    """Every queue of the stack."""
    queues, found = stack.cloud.queues, []
    for url in stack.queues:
        depth = queues.depth(url)
        name = depth.arn.rpartition(":")[2]
        found.append(
            Depth(
                name=name,
                url=url,
                waiting=depth.waiting,
                taken=depth.taken,
                oldest_seconds=queues.oldest_seconds(name),
                dead_letters=depth.dead_letters_arn.rpartition(":")[2],
            )
        )
    return found


class DeadLetters:
    """The letters of one dead letter queue; `source_url` is the queue that they came from, or empty."""

    def __init__(self, stack: Stack, url: str, source_url: str) -> None:
        self._stack = stack
        self._queues = stack.cloud.queues
        self._url = url
        self._source_url = source_url

    def look(self) -> list[Letter]:
        """Each letter with its reason. They are all there again afterwards."""
        letters: list[Letter] = []
        with self._shown_again() as kept:
            for message in self._receive():
                kept.append(message)
                letters.append(_letter(self._stack, message))
        return letters

    def redrive(self) -> Iterator[Redriven]:
        """Give each back; what became of it, as it is done."""
        with self._shown_again() as kept:
            for message in self._receive():
                kept.append(message)
                letter = _letter(self._stack, message)
                try:
                    said = self._give_back(letter)
                except (ContractError, IngestError, CloudError, _NobodyError) as error:
                    yield Redriven(letter=letter, said=f"stays: {error}", stays=True)
                    continue
                self._queues.delete(self._url, message.receipt)
                kept.remove(message)
                yield Redriven(letter=letter, said=said)

    def _give_back(self, letter: Letter) -> str:
        """What was done. Raises what keeps it from being done."""
        message, cloud = letter.message, self._stack.cloud
        if letter.kind == ASSOCIATION:
            start(cloud.executions, self._stack.ingest_machine_arn, message.body, str(message.sent_at_ms))
            return "its execution is started"
        if letter.kind == EXECUTION:
            with closing(self._stack.catalog()) as catalog:
                follow(catalog, cloud.executions, letter.about)
            return "its execution is followed"
        if not self._source_url or letter.kind == MALFORMED:
            raise _NobodyError("nobody can deal with it as it is; delete it in SQS's console when it is not needed")
        self._queues.send(self._source_url, message)
        return "back in its queue"

    def _receive(self) -> Iterator[Message]:
        seen = 0
        while seen < LETTERS_MAX and (messages := self._queues.receive(self._url, hidden_seconds=_HIDDEN_SECONDS)):
            seen += len(messages)
            yield from messages

    @contextmanager
    def _shown_again(self) -> Iterator[list[Message]]:
        """Messages that are still in the list at the end can be received again at once, by whomever."""
        kept: list[Message] = []
        try:
            yield kept
        finally:
            for message in kept:
                self._queues.show_again(self._url, message.receipt)


class _NobodyError(Exception):
    """There is nothing that deals with such a letter."""


def _letter(stack: Stack, message: Message) -> Letter:
    try:
        body = json.loads(message.body)
    except ValueError:
        body = None
    document: Mapping[str, Any] = body if isinstance(body, dict) else {}
    event, failed_by = _event(document, message)
    if event.get("source") == "aws.states":
        about = str(event.get("detail", {}).get("executionArn", ""))
        return Letter(message=message, kind=EXECUTION, about=about, why=failed_by or "its function failed")
    if "manifest_key" in document:
        return _association(stack, message)
    if "Records" in document:
        records = document["Records"]
        keys = [str(one.get("s3", {}).get("object", {}).get("key", "")) for one in records if isinstance(one, dict)]
        return Letter(message=message, kind="objects", about=", ".join(keys), why="its function failed: see the function's log")
    return Letter(message=message, kind=MALFORMED, about="", why="it is nothing that the pipeline sends")


def _event(document: Mapping[str, Any], message: Message) -> tuple[Mapping[str, Any], str]:
    """(the event, what failed on it). EventBridge gives its reason in attributes (its guide, "Dead-letter queues"), Lambda's
    destination in a record around the event (its guide, "Retaining records of asynchronous invocations")."""
    if "ERROR_CODE" in message.attributes:
        return document, f"{message.attributes['ERROR_CODE']}: {message.attributes.get('ERROR_MESSAGE', '')}"
    if "requestPayload" in document:
        said = document.get("responsePayload")
        said = said if isinstance(said, dict) else {}
        condition = document.get("requestContext", {}).get("condition", "failed")
        named = ": ".join(str(said[name]) for name in ("errorType", "errorMessage") if said.get(name))
        return document["requestPayload"], named or str(condition)
    return document, ""


def _association(stack: Stack, message: Message) -> Letter:
    try:
        announced = from_json(InboundMessage, message.body)
    except ContractError as error:
        return Letter(message=message, kind=MALFORMED, about="", why=str(error))
    run = stack.cloud.machines.describe(stack.execution_arn(announced.association))
    why = f"its execution is {run.status} by now" if run else "no execution was started for as long as that was tried"
    return Letter(message=message, kind=ASSOCIATION, about=announced.association, why=why)
