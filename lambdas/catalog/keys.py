"""How identifiers stand in columns."""

from __future__ import annotations

import hashlib
import json

from contract.manifest import Entry, QuarantinedObject
from contract.uids import safe_name

_UID_FIELDS = ("sop_class_uid", "sop_instance_uid", "study_instance_uid", "series_instance_uid", "transfer_syntax_uid")


def object_hash(bucket: str, key: str) -> str:
    """The key of an S3 object's row, of one length whatever the S3 key's."""
    return hashlib.sha256(f"s3://{bucket}/{key}".encode()).hexdigest()


def uid_column(uid: str) -> str | None:
    """A UID as its safe name, which is at most 64 ASCII characters and unique; None when it is absent."""
    return safe_name(uid) if uid else None


def uids_as_received(listed: Entry | QuarantinedObject) -> str | None:
    """The UIDs of an object that are not what their columns hold, as JSON by column; None when all are."""
    values = {name: getattr(listed, name, "") for name in _UID_FIELDS}
    changed = {name: uid for name, uid in values.items() if uid and uid_column(uid) != uid}
    return json.dumps(changed) if changed else None


def patient_key(patient_id: str, issuer: str, study_instance_uid: str | None) -> str | None:
    """One patient, as far as identifiers tell: PatientID within its issuer; without an id, the study stands for the patient.

    None when neither is there. Spaces around an id mean nothing (PS3.5 6.2, LO); its case does.
    """
    if patient_id.strip():
        named = ["id", issuer.strip(), patient_id.strip()]
    elif study_instance_uid:
        named = ["study", study_instance_uid]
    else:
        return None
    return hashlib.sha256("\0".join(named).encode("utf-8", "surrogatepass")).hexdigest()
