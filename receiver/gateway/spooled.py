"""`spool list`, `show` and `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from contract.strict import ContractError, utc_now
from receiver.gateway.errors import GatewayError
from receiver.index import index_object
from receiver.part10 import Part10Error
from receiver.spool.view import SpooledAssociation, SpoolView


def list_spool(view: SpoolView) -> list[str]:
    """A line for each association, and one for all. Raises OSError."""
    found = view.associations()
    width = max((len(one.association) for one in found), default=0)
    lines = [
        f"{one.association:<{width}}  {one.state:<8}  {one.objects:>6} objects  {one.size_bytes:>13,} bytes  "
        + _age(one.oldest_at)
        for one in found
    ]
    objects, size_bytes = sum(one.objects for one in found), sum(one.size_bytes for one in found)
    return [*lines, f"{len(found)} associations, {objects} objects, {size_bytes:,} bytes"]


def show_association(view: SpoolView, association: str) -> Iterator[str]:
    """What is known of one association. Raises GatewayError, OSError."""
    one = _find(view, association)
    yield f"association  {one.association}"
    yield f"folder       {one.path}"
    yield f"state        {one.state}"
    try:
        facts = view.facts(one)
        yield f"from         {facts.calling_ae} at {facts.peer}, called {facts.called_ae}"
        yield f"opened       {facts.started_at:%Y-%m-%d %H:%M:%S} UTC"
    except (FileNotFoundError, ContractError) as error:
        yield f"opened       unknown ({type(error).__name__})"
    for stored in view.objects(one):
        mark = "  not acknowledged" if stored.unacknowledged else ""
        yield f"{stored.number:06d}  {stored.received_at:%Y-%m-%d %H:%M:%S} UTC  {stored.size_bytes:>13,} bytes{mark}"


def verify_spool(view: SpoolView) -> Iterator[tuple[str, bool]]:
    """(line, whether good) for each association and for each object that is not as it should be. Raises OSError."""
    for one in view.associations():
        good = faults = 0
        try:
            for stored in view.objects(one):
                try:
                    index = index_object(lambda stored=stored: stored.path.open("rb"))  # type: ignore[misc]
                except Part10Error as error:
                    faults += 1
                    yield f"{one.association}  {stored.name}  is no file of the receiver's: {error}", False
                    continue
                good += 1
                if index.fault:
                    yield f"{one.association}  {stored.name}  will be quarantined: {index.fault}", True
            view.facts(one)
        except FileNotFoundError:
            yield f"{one.association}  was announced meanwhile", True
        except (OSError, ContractError) as error:
            yield f"{one.association}  cannot be read: {type(error).__name__}", False
        else:
            yield f"{one.association}  {good} objects can be read, {faults} cannot", faults == 0


def _find(view: SpoolView, association: str) -> SpooledAssociation:
    found = [one for one in view.associations() if one.association.startswith(association)]
    if len(found) != 1:
        what = "no association" if not found else f"{len(found)} associations"
        raise GatewayError(f"{what} in the spool begins with {association}; `spool list` shows all")
    return found[0]


def _age(at: datetime | None) -> str:
    return f"oldest {(utc_now() - at).total_seconds():,.0f} s" if at else "no object"
