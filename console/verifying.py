"""`ahi-ingest verify`: what the catalog says of a study, held against HealthImaging itself.

An object is where the catalog says if its SOP Instance UID stands in the metadata of the image set that its row names. The
other way round, every image set that HealthImaging has of the study, and every instance in it, must be one that the catalog
has there. UIDs are compared as the catalog's columns hold them (contract.uids.safe_name).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from console.aws import CALLS_AT_ONCE
from console.aws.image_sets import ImageSets
from lambdas.catalog.keys import uid_column
from lambdas.catalog.queries import Queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that catalog and HealthImaging disagree about. `sop_instance_uid` is empty when it is a whole image set."""

    image_set_id: str
    sop_instance_uid: str
    what: str


@dataclass(slots=True)
class Verified:
    """What was compared: `objects` and `not_imported` count the catalog's rows, `image_sets` those of either side."""

    objects: int = 0
    image_sets: int = 0
    not_imported: int = 0
    differences: list[Difference] = field(default_factory=list)


def verify(image_sets: ImageSets, queries: Queries, study_instance_uid: str) -> Verified:
    """Compare one study. Raises CloudError, CatalogUnavailableError, CatalogRefusedError."""
    known = {one.image_set_id: one.image_set_version for one in queries.image_sets_of_study(study_instance_uid)}
    held: dict[str, set[str]] = {image_set_id: set() for image_set_id in known}
    verified = Verified()
    for one in queries.stored_objects_of_study(study_instance_uid):
        verified.objects += 1
        if one.image_set_id:
            held.setdefault(one.image_set_id, set()).add(one.sop_instance_uid or "")
        else:
            verified.not_imported += 1
    there = image_sets.of_study(study_instance_uid)
    ids = sorted(held | there)
    verified.image_sets = len(ids)
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        for image_set_id, document in zip(ids, pool.map(image_sets.metadata, ids), strict=True):
            verified.differences += _compare(image_set_id, held.get(image_set_id), document)
            verified.differences += _version(image_set_id, known.get(image_set_id), there.get(image_set_id))
    return verified


def _compare(image_set_id: str, held: set[str] | None, document: Mapping[str, Any] | None) -> Iterator[Difference]:
    if document is None:
        yield Difference(image_set_id=image_set_id, sop_instance_uid="", what="HealthImaging has no such image set")
        return
    there = {uid_column(uid) or "" for uid in _instances(document)}
    if held is None:
        what = f"the catalog does not know this image set of {len(there)} instance(s)"
        yield Difference(image_set_id=image_set_id, sop_instance_uid="", what=what)
        return
    for uid in sorted(held - there):
        yield Difference(image_set_id=image_set_id, sop_instance_uid=uid, what="in the catalog, and not in HealthImaging")
    for uid in sorted(there - held):
        yield Difference(image_set_id=image_set_id, sop_instance_uid=uid, what="in HealthImaging, and not in the catalog")


def _version(image_set_id: str, recorded: int | None, there: int | None) -> Iterator[Difference]:
    if recorded is not None and there is not None and recorded != there:
        what = f"the catalog has version {recorded}, HealthImaging version {there}"
        yield Difference(image_set_id=image_set_id, sop_instance_uid="", what=what)


def _instances(document: Mapping[str, Any]) -> Iterator[str]:
    """The SOP Instance UIDs of a metadata document (Developer Guide, "Getting image set metadata")."""
    for series in document.get("Study", {}).get("Series", {}).values():
        yield from series.get("Instances", {})
