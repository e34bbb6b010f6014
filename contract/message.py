"""The SQS message that announces an association: small, and of constant size, whatever the association held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contract.association import Ending, check_association_id, check_edge_id
from contract.keys import manifest_key
from contract.manifest import AssociationManifest
from contract.strict import ContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """An association whose objects and manifests are all in `bucket`. `size_bytes` counts quarantined objects too."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    association: str
    edge: str
    sequence: int
    bucket: str
    manifest_key: str
    objects: int
    quarantined: int
    size_bytes: int
    ending: Ending

    def __post_init__(self) -> None:
        check_association_id(self.association)
        check_edge_id(self.edge)
        if self.manifest_key != manifest_key(self.edge, self.association):
            raise ContractError("manifest_key: not the key of this edge's and association's manifest")
        if min(self.objects, self.quarantined, self.size_bytes, self.sequence) < 0:
            raise ContractError("objects, quarantined, size_bytes, sequence: expected at least 0")

    @classmethod
    def announcing(cls, manifest: AssociationManifest, bucket: str) -> InboundMessage:
        """The message for a manifest that is in `bucket`."""
        return cls(
            association=manifest.association,
            edge=manifest.edge,
            sequence=manifest.sequence,
            bucket=bucket,
            manifest_key=manifest_key(manifest.edge, manifest.association),
            objects=manifest.objects,
            quarantined=len(manifest.quarantined),
            size_bytes=manifest.size_bytes,
            ending=manifest.ending,
        )
