"""The order rule: of two objects with one UID, the later association's counts; within one, the later part's, then position's.

Associations are ordered by when SQS took their messages, then by their edge's own counter: never by the edge's clock, which
may step. Orders are texts that sort as the rule says, so that the database compares them.
"""

from __future__ import annotations

from lambdas.catalog.associations import Origin


def object_order(origin: Origin, association: str, part: int, position: int) -> str:
    """The order of an object. Two objects never share one: the association's id is part of it."""
    return f"{_association_order(origin, association)}.{part:06d}.{position:06d}"


def described_order(object_order: str, attributes: int) -> str:
    """The order by which patient, study and series take their attributes from an object of that order.

    Within an association the object that has most `attributes` goes first, so that a report without a study date does not
    empty what the images said.
    """
    association_order, part, position = object_order.rsplit(".", 2)
    return f"{association_order}.{attributes:03d}.{part}.{position}"


def _association_order(origin: Origin, association: str) -> str:
    return f"{origin.sent_at_ms:015d}.{origin.sequence:012d}.{association}"
