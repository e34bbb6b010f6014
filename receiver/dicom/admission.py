"""Which associations are accepted: by default all, up to a limit (PS3.8 9.3.4 has the ways to say no)."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass

from contract.uids import uid_from_wire
from receiver.dicom.counts import AssociationCounts
from receiver.dicom.pdu import APPLICATION_CONTEXT, AssociateRq
from receiver.dicom.status import (
    APPLICATION_CONTEXT_NOT_SUPPORTED,
    CALLED_AE_NOT_RECOGNIZED,
    CALLING_AE_NOT_RECOGNIZED,
    LOCAL_LIMIT_EXCEEDED,
    NO_REASON,
    TEMPORARY_CONGESTION,
    Rejection,
)

_log = logging.getLogger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRules:
    """Allow-lists that are empty allow all; a limit of 0 is none."""

    calling_ae_titles: tuple[str, ...] = ()
    called_ae_titles: tuple[str, ...] = ()
    storing_ae_titles: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    max_associations: int
    max_associations_per_ae: int = 0
    max_associations_per_address: int = 0

    def may_store(self, calling_ae: bytes) -> bool:
        """Whether the objects of this AE (as on the wire) are taken."""
        return not self.storing_ae_titles or ae_title(calling_ae) in self.storing_ae_titles


class Admission:
    """Decides on association requests by the rules, counting those that are open."""

    def __init__(self, rules: AdmissionRules, counts: AssociationCounts, *, has_room: Callable[[], bool]) -> None:
        """`has_room` says whether the disk takes new associations."""
        self.rules, self._counts, self._has_room = rules, counts, has_room

    def admit(self, request: AssociateRq, peer: str) -> Rejection | tuple[str, ...]:
        """Why the request is rejected; otherwise what to `give_back` when its association ends."""
        calling_ae, address = ae_title(request.calling_ae), _address(peer)
        return self._refusal(request, calling_ae, address) or self._take(calling_ae, address)

    def _refusal(self, request: AssociateRq, calling_ae: str, address: _Address) -> Rejection | None:
        rules = self.rules
        if request.application_context != APPLICATION_CONTEXT:
            return APPLICATION_CONTEXT_NOT_SUPPORTED
        if rules.networks and not any(address in network for network in rules.networks):
            return NO_REASON
        if rules.calling_ae_titles and calling_ae not in rules.calling_ae_titles:
            return CALLING_AE_NOT_RECOGNIZED
        if rules.called_ae_titles and ae_title(request.called_ae) not in rules.called_ae_titles:
            return CALLED_AE_NOT_RECOGNIZED
        return None if self._has_room() else TEMPORARY_CONGESTION

    def _take(self, calling_ae: str, address: _Address) -> Rejection | tuple[str, ...]:
        limits = {
            "all": self.rules.max_associations,
            f"ae {calling_ae}": self.rules.max_associations_per_ae,
            f"address {address}": self.rules.max_associations_per_address,
        }
        limits = {name: limit for name, limit in limits.items() if limit}
        try:
            return tuple(limits) if self._counts.take(limits) else LOCAL_LIMIT_EXCEEDED
        except OSError as error:
            _log.error("associations cannot be counted", extra={"error": error.strerror})
            return TEMPORARY_CONGESTION

    def give_back(self, taken: tuple[str, ...]) -> None:
        """An admitted association ended."""
        try:
            self._counts.give_back(taken)
        except OSError as error:  # siblings learn of it with the next one
            _log.error("associations cannot be counted", extra={"error": error.strerror})

    def close(self) -> None:
        """No more associations of this process."""
        with contextlib.suppress(OSError):
            self._counts.close()


def ae_title(raw: bytes) -> str:
    """An AE title's text: leading and trailing spaces are not significant (PS3.8 9.3.2), any byte is let pass."""
    return uid_from_wire(raw).strip()


def _address(peer: str) -> _Address:
    """The peer's address; an IPv4 peer of an IPv6 socket is an IPv4 address."""
    address = ipaddress.ip_address(peer)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
