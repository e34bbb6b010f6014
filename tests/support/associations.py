"""Puts associations into a bucket as the receiver would: objects, part manifests, the manifest; without a receiver."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from contract.association import Ending, new_association_id
from contract.keys import instance_key, manifest_key, part_manifest_key, quarantine_key
from contract.manifest import AssociationManifest, Entry, Member, PartManifest, QuarantinedObject
from contract.message import InboundMessage
from contract.strict import to_json
from lambdas.logic.starting import parse_announcement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdas.catalog.associations import Announcement
    from local.aws import Aws

EDGE = "edge-1"
SENT_AT_MS = 1_790_000_000_000
RECEIVED_AT = datetime(2026, 11, 24, 2, 15, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class PlacedAssociation:
    """An association whose objects and manifests are in a bucket. `entries` by part, from part 1."""

    bucket: str
    manifest: AssociationManifest
    parts: tuple[PartManifest, ...]
    sent_at_ms: int

    @property
    def association(self) -> str:
        return self.manifest.association

    @property
    def entries(self) -> list[Entry]:
        return [entry for part in self.parts for entry in part.entries]

    @property
    def message(self) -> bytes:
        return to_json(InboundMessage.announcing(self.manifest, self.bucket))

    @property
    def document(self) -> dict[str, Any]:
        """The input of the execution of `ingest`."""
        document: dict[str, Any] = json.loads(self.message)
        return document | {"sent_at_ms": self.sent_at_ms}

    @property
    def announcement(self) -> Announcement:
        return parse_announcement(self.document)


@dataclass(kw_only=True)
class Placer:
    """Places associations in one bucket. Each is later than the one before, unless it is told another time."""

    aws: Aws
    bucket: str
    edge: str = EDGE
    placed: list[PlacedAssociation] = field(default_factory=list)

    def place(
        self,
        *parts: Sequence[bytes],
        quarantined: Sequence[bytes] = (),
        ending: Ending = Ending.RELEASED,
        sent_at_ms: int | None = None,
        supersedes: bool = False,
        members: int = 0,
    ) -> PlacedAssociation:
        """Put the Part 10 files of each part, and those to quarantine. With `supersedes`, parts from the second say so.

        `members`: how many associations share the manifest, each with an object.
        """
        sequence = len(self.placed) + 1
        association = new_association_id("CT_1", RECEIVED_AT)
        others = [new_association_id("CT_1", RECEIVED_AT) for _ in range(members - 1)]
        manifests = tuple(
            PartManifest(
                association=association,
                edge=self.edge,
                part=number,
                entries=tuple(self._put(association, number, file, supersedes and number > 1) for file in files),
            )
            for number, files in enumerate(parts, 1)
        )
        manifest = AssociationManifest(
            association=association,
            edge=self.edge,
            sequence=sequence,
            calling_ae="CT_1",
            called_ae="AHI",
            peer="127.0.0.1:40000",
            started_at=RECEIVED_AT,
            ended_at=RECEIVED_AT,
            ending=ending,
            identical_repeats=0,
            parts=tuple(part.summary() for part in manifests),
            quarantined=tuple(self._quarantine(association, number, file) for number, file in enumerate(quarantined)),
            members=tuple(
                Member(association=one, started_at=RECEIVED_AT, ended_at=RECEIVED_AT, ending=ending, objects=1)
                for one in ([association, *others] if members else [])
            ),
        )
        for part in manifests:
            self._write(part_manifest_key(self.edge, association, part.part), to_json(part))
        self._write(manifest_key(self.edge, association), to_json(manifest))
        one = PlacedAssociation(
            bucket=self.bucket,
            manifest=manifest,
            parts=manifests,
            sent_at_ms=SENT_AT_MS + 1000 * sequence if sent_at_ms is None else sent_at_ms,
        )
        self.placed.append(one)
        return one

    def rewrite(self, placed: PlacedAssociation, **changes: Any) -> None:
        """Put the manifest again, with other values than the message announced."""
        self._write(manifest_key(self.edge, placed.association), to_json(replace(placed.manifest, **changes)))

    def _put(self, association: str, part: int, file: bytes, supersedes: bool) -> Entry:
        entry = entry_of(association, part, file, edge=self.edge, supersedes=supersedes)
        self._write(entry.key, file)
        return entry

    def _quarantine(self, association: str, number: int, file: bytes) -> QuarantinedObject:
        key = quarantine_key(self.edge, association, str(number))
        self._write(key, file)
        return QuarantinedObject(
            key=key,
            size_bytes=len(file),
            reason="its data set cannot be read",
            sop_class_uid="",
            sop_instance_uid="1.2.3",
            transfer_syntax_uid="",
            received_at=RECEIVED_AT,
        )

    def _write(self, key: str, body: bytes) -> None:
        self.aws.s3.put_object(Bucket=self.bucket, Key=key, Body=body)


def entry_of(association: str, part: int, file: bytes, *, edge: str = EDGE, supersedes: bool = False) -> Entry:
    """The manifest's entry of a Part 10 file, of what pydicom reads in it, however little that is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = dcmread(DicomBytesIO(file), force=True, specific_tags=["SOPClassUID", "SOPInstanceUID", *_PARENTS])
        sop_class, sop, study, series = (str(read.get(one) or "") for one in ("SOPClassUID", "SOPInstanceUID", *_PARENTS))
    digest = hashlib.sha256(file).hexdigest()
    return Entry(
        # The digest in every name: files that share a UID may stand in one part here.
        key=instance_key(
            edge=edge,
            association=association,
            part=part,
            study_uid=study,
            series_uid=series,
            sop_uid=sop,
            other_digest=digest,
        ),
        size_bytes=len(file),
        digest=digest,
        sop_class_uid=sop_class,
        sop_instance_uid=sop,
        study_instance_uid=study,
        series_instance_uid=series,
        transfer_syntax_uid=str(getattr(read, "file_meta", {}).get("TransferSyntaxUID") or ""),
        received_at=RECEIVED_AT,
        supersedes=supersedes,
    )


_PARENTS = ("StudyInstanceUID", "SeriesInstanceUID")
