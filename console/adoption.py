"""The plan of an adopted association: which objects it is made of, and what its manifests will say.

Written to S3 when all of its objects were read, and before the first is copied: whatever breaks off afterwards is finished
from here, with the same keys. An association is adopted when the catalog knows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from tempfile import SpooledTemporaryFile
from typing import IO, ClassVar, cast

from console.aws.objects import Objects, StoredKey
from contract.association import Ending, new_association_id
from contract.keys import parse_instance_key
from contract.manifest import AssociationManifest, Entry, PartManifest, QuarantinedObject
from contract.strict import utc_now
from receiver.index import ObjectIndex, index_object
from receiver.part10 import Part10Error
from receiver.placement import Placement
from receiver.spool import Seal, StartFacts

PART_MAX_OBJECTS = 5_000
PART_MAX_BYTES = OBJECT_MAX_BYTES = 10 * 10**9
"""HealthImaging's quotas for one import job (Developer Guide, "Endpoints and quotas")."""

READS_AT_ONCE = 8
_IN_MEMORY_BYTES = 16 * 1024 * 1024  # of each object that is read; what is beyond is on disk meanwhile
_CALLING_AE = "ADOPTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An object that was read, in the version `etag`. `target` is empty when it repeats another, and is not copied."""

    key: str
    etag: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """An association to be. `sources` are in `bucket`; of one that is adopted where it stands there are none."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    bucket: str
    manifest: AssociationManifest
    parts: tuple[PartManifest, ...]
    sources: tuple[Source, ...]


def plan_copies(objects: Objects, bucket: str, listed: Sequence[StoredKey], edge: str) -> Adoption:
    """The plan of one association of these objects. Each is read whole, once, for its digest. Raises CloudError.

    They are placed as the receiver does it: what is not DICOM or cannot be read is quarantined, the same object again is
    left out, and other content under the same UID goes to a later part.
    """
    now = utc_now()
    placement = Placement(
        StartFacts(
            association=new_association_id(_CALLING_AE, now),
            edge=edge,
            calling_ae=_CALLING_AE,
            called_ae="",
            peer=f"s3://{bucket}",
            started_at=now,
            part_max_objects=PART_MAX_OBJECTS,
            part_max_bytes=PART_MAX_BYTES,
            object_max_bytes=OBJECT_MAX_BYTES,
        )
    )
    sources = []
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        for one, index in zip(listed, pool.map(lambda one: _index(objects, bucket, one), listed), strict=True):
            place = placement.add(index, one.size_bytes, one.modified_at)
            sources.append(Source(key=one.key, etag=one.etag, target="" if place.repeat else place.key))
    manifest = placement.manifest(Seal(ending=Ending.RELEASED, ended_at=now, sequence=0))
    return Adoption(bucket=bucket, manifest=manifest, parts=tuple(placement.parts()), sources=tuple(sources))


def plan_in_place(
    objects: Objects,
    bucket: str,
    listed: Sequence[StoredKey],
    held: Sequence[StoredKey],
    *,
    edge: str,
    association: str,
) -> Adoption:
    """The plan of an association whose objects stand under instances/, `held` ones under quarantine/, and have no manifest.

    They stay where they are: HealthImaging says of each that it does not take. Raises CloudError, and ContractError for keys
    that no receiver writes and for parts that are not numbered from 1.
    """
    keys = [parse_instance_key(one.key) for one in listed]
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        indexes = list(pool.map(lambda one: _index(objects, bucket, one), listed))
        quarantined = tuple(pool.map(lambda one: _quarantined(one, _index(objects, bucket, one)), held))
    entries: dict[int, list[Entry]] = {}
    for one, key, index in zip(listed, keys, indexes, strict=True):
        entry = Entry(
            key=one.key,
            size_bytes=one.size_bytes,
            digest=index.digest,
            sop_class_uid=index.sop_class_uid,
            sop_instance_uid=index.sop_instance_uid,
            study_instance_uid=index.study_instance_uid,
            series_instance_uid=index.series_instance_uid,
            transfer_syntax_uid=index.transfer_syntax_uid,
            received_at=one.modified_at,
            supersedes="~" in key.name,
        )
        entries.setdefault(key.part, []).append(entry)
    parts = tuple(
        PartManifest(association=association, edge=edge, part=number, entries=tuple(of_part))
        for number, of_part in sorted(entries.items())
    )
    times = [one.modified_at for one in (*listed, *held)]
    manifest = AssociationManifest(
        association=association,
        edge=edge,
        sequence=0,
        calling_ae="",
        called_ae="",
        peer="",
        started_at=min(times),
        ended_at=max(times),
        ending=Ending.RECOVERED,
        identical_repeats=0,
        parts=tuple(part.summary() for part in parts),
        quarantined=quarantined,
    )
    return Adoption(bucket=bucket, manifest=manifest, parts=parts, sources=())


def _quarantined(one: StoredKey, index: ObjectIndex) -> QuarantinedObject:
    return QuarantinedObject(
        key=one.key,
        size_bytes=one.size_bytes,
        reason=index.fault or "quarantined by its edge, which was lost before it said why",
        sop_class_uid=index.sop_class_uid,
        sop_instance_uid=index.sop_instance_uid,
        transfer_syntax_uid=index.transfer_syntax_uid,
        received_at=one.modified_at,
    )


def _index(objects: Objects, bucket: str, one: StoredKey) -> ObjectIndex:
    """What an object says about itself, read whole; of one that is not DICOM, why it is not."""
    with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
        objects.download(bucket, one.key, cast("IO[bytes]", file))
        file.seek(0)
        try:
            return index_object(lambda: cast("IO[bytes]", nullcontext(file)))  # to be read again below
        except Part10Error as error:
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return replace(_NOT_DICOM, digest=digest, fault=str(error))


_NOT_DICOM = ObjectIndex(
    digest="",
    sop_class_uid="",
    sop_instance_uid="",
    study_instance_uid="",
    series_instance_uid="",
    transfer_syntax_uid="",
    fault="",
    checked=True,
)
