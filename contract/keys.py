"""S3 keys, built and parsed here alone.

    instances/<edge>/<association>/<part>/<study>/<series>/<sop>.dcm    one import prefix per part
    quarantine/<edge>/<association>/<name>                              acknowledged, but not to be imported
    manifests/<edge>/<association>/manifest.json                        the association
    manifests/<edge>/<association>/<part>.json                          the entries of one part
    imports/<edge>/<association>/<part>/<attempt>/                      HealthImaging's outputs
    retries/<edge>/<association>/<part>/<attempt>/                      staged copies for another attempt
    status/<edge>.json                                                  the edge's own report
    external/...                                                        objects that came without the receiver
    adopted/<edge>/<association>.json                                   which of them make up an association (console.adoption)

Only DICOM objects stand under `instances/`: HealthImaging scans all that is below a prefix. Prefixes end in `/`. Study,
series and SOP instance are safe names (contract.uids). An object whose SOP Instance UID was sent before in the same
association with other content has `~<digest[:12]>` after it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from contract.association import check_association_id, check_edge_id
from contract.strict import ContractError
from contract.uids import safe_name

EXTERNAL_PREFIX = "external/"
IMPORTS_PREFIX = "imports/"
INSTANCES_PREFIX = "instances/"
MANIFESTS_PREFIX = "manifests/"
QUARANTINE_PREFIX = "quarantine/"
RETRIES_PREFIX = "retries/"
STATUS_PREFIX = "status/"

_PART = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_SEGMENT = re.compile(r"[0-9A-Za-z._~-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class InstanceKey:
    """What an S3 key under `instances/` says. `study`, `series` and `name` are safe names, `name` without its `.dcm`."""

    edge: str
    association: str
    part: int
    study: str
    series: str
    name: str

    def __str__(self) -> str:
        return f"{instances_prefix(self.edge, self.association, self.part)}{self.study}/{self.series}/{self.name}.dcm"


def instance_key(
    *, edge: str, association: str, part: int, study_uid: str, series_uid: str, sop_uid: str, other_digest: str = ""
) -> str:
    """The key of an object, of raw UIDs; `other_digest` when the UID was sent before with other content."""
    name = safe_name(sop_uid) + (f"~{other_digest[:12]}" if other_digest else "")
    return str(InstanceKey(edge, association, part, safe_name(study_uid), safe_name(series_uid), name))


def parse_instance_key(key: str) -> InstanceKey:
    """The parts of a key that `instance_key` built. Raises ContractError."""
    segments = key.split("/")
    if len(segments) != 7 or f"{segments[0]}/" != INSTANCES_PREFIX or not segments[6].endswith(".dcm"):
        raise ContractError("key: not of the form instances/<edge>/<association>/<part>/<study>/<series>/<sop>.dcm")
    _, edge, association, part, study, series, file = segments
    name = file.removesuffix(".dcm")
    for segment in (study, series, name):
        if _SEGMENT.fullmatch(segment) is None or segment in {".", ".."}:
            raise ContractError("key: a segment that no safe name has")
    return InstanceKey(check_edge_id(edge), check_association_id(association), _part_number(part), study, series, name)


def instances_prefix(edge: str, association: str, part: int) -> str:
    """The import prefix of one part, for StartDICOMImportJob's inputS3Uri."""
    return f"{INSTANCES_PREFIX}{_folder(edge, association)}{part}/"


def quarantine_key(edge: str, association: str, name: str) -> str:
    """The key of an object that was acknowledged and cannot be imported; `name` is a safe name."""
    return f"{QUARANTINE_PREFIX}{_folder(edge, association)}{name}"


def manifest_key(edge: str, association: str) -> str:
    """The key of the association's manifest."""
    return f"{MANIFESTS_PREFIX}{_folder(edge, association)}manifest.json"


def parse_manifest_key(key: str) -> tuple[str, str]:
    """(edge, association) of a key that `manifest_key` built. Raises ContractError."""
    segments = key.split("/")
    if len(segments) != 4 or f"{segments[0]}/" != MANIFESTS_PREFIX or segments[3] != "manifest.json":
        raise ContractError("key: not of the form manifests/<edge>/<association>/manifest.json")
    return check_edge_id(segments[1]), check_association_id(segments[2])


def part_manifest_key(edge: str, association: str, part: int) -> str:
    """The key of the manifest of one part."""
    return f"{MANIFESTS_PREFIX}{_folder(edge, association)}{part}.json"


def imports_prefix(edge: str, association: str, part: int, attempt: int) -> str:
    """The prefix of HealthImaging's outputs of one attempt, for StartDICOMImportJob's outputS3Uri."""
    return f"{IMPORTS_PREFIX}{_folder(edge, association)}{part}/{attempt}/"


def parse_outputs_folder(folder: str) -> tuple[str, str, int, int]:
    """(edge, association, part, attempt) of a job's folder of outputs, below `imports_prefix`. Raises ContractError."""
    segments = folder.rstrip("/").split("/")
    if len(segments) != 6 or f"{segments[0]}/" != IMPORTS_PREFIX:
        raise ContractError("key: not of the form imports/<edge>/<association>/<part>/<attempt>/<job's folder>/")
    _, edge, association, part, attempt, _ = segments
    return check_edge_id(edge), check_association_id(association), _part_number(part), _part_number(attempt)


def retries_prefix(edge: str, association: str, part: int, attempt: int) -> str:
    """The import prefix of staged copies for another attempt."""
    return f"{RETRIES_PREFIX}{_folder(edge, association)}{part}/{attempt}/"


def adopted_prefix(edge: str) -> str:
    """Where the plans of an edge's adopted associations stand."""
    return f"adopted/{check_edge_id(edge)}/"


def adopted_key(edge: str, association: str) -> str:
    """The key of the plan of an adopted association."""
    return f"{adopted_prefix(edge)}{check_association_id(association)}.json"


def status_key(edge: str) -> str:
    """The key of the edge's own report."""
    return f"{STATUS_PREFIX}{check_edge_id(edge)}.json"


def _folder(edge: str, association: str) -> str:
    return f"{check_edge_id(edge)}/{check_association_id(association)}/"


def _part_number(text: str) -> int:
    if _PART.fullmatch(text) is None:
        raise ContractError("key: parts and attempts are numbers from 1")
    return int(text)
