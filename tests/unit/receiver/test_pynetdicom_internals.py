"""The receiver hooks into pynetdicom's internals: whoever upgrades it reads this.

When one of these fails, pynetdicom changed something that receiver/dicom/association.py relies upon. Read the difference
between the versions for the thing that is named, see what it means for the hook, run the tests in tests/integration/
test_receiver_dicom.py, and put the new digest here.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from importlib.metadata import version

import pytest
from pynetdicom import _config, fsm
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import AssociationSocket

HOOKS: dict[str, tuple[Callable[..., object], str]] = {
    # overridden
    "Association.__init__": (Association.__init__, "eb07516b8009ad8f"),
    "Association._abort_blocking": (Association._abort_blocking, "10b43ef8c63c6764"),
    "ACSE._negotiate_as_acceptor": (ACSE._negotiate_as_acceptor, "fffd360957c42a8e"),
    "DULServiceProvider._send": (DULServiceProvider._send, "a850a7919e68484e"),
    # replaced by `ServedAssociation._serve` and `_read_pdu`
    "Association.run_reactor": (Association.run_reactor, "ed8bbbe3b3d6ddae"),
    "Association._run_reactor": (Association._run_reactor, "f28838c5559e462a"),
    "DULServiceProvider.run_reactor": (DULServiceProvider.run_reactor, "e3a10eb3a0931e48"),
    "DULServiceProvider._read_pdu_data": (DULServiceProvider._read_pdu_data, "19f2d4e38c13c835"),
    # called
    "ACSE.negotiate_association": (ACSE.negotiate_association, "a6f771214fa494c1"),
    "ACSE.send_accept": (ACSE.send_accept, "c03855deabefe975"),
    "ACSE.send_reject": (ACSE.send_reject, "700998293bbcb6c9"),
    "ACSE.send_release": (ACSE.send_release, "28eaf9df836ca88f"),
    "ACSE.send_abort": (ACSE.send_abort, "6707ebd82b156b4b"),
    "DULServiceProvider.__init__": (DULServiceProvider.__init__, "c82dafa9438ddf70"),
    "DULServiceProvider._decode_pdu": (DULServiceProvider._decode_pdu, "fc71dd1bf853e1ce"),
    "DULServiceProvider._process_recv_primitive": (DULServiceProvider._process_recv_primitive, "4c0ebbb3e646e35e"),
    "AssociationSocket.__init__": (AssociationSocket.__init__, "1f0325fdef2cc353"),
    "AssociationSocket.send": (AssociationSocket.send, "1ea8158c0b51faca"),
    "AssociationSocket._shutdown_socket": (AssociationSocket._shutdown_socket, "e2b2628faa81a578"),
    "StateMachine.do_action": (fsm.StateMachine.do_action, "9a883f44c7f31641"),
}


def digest(function: Callable[..., object]) -> str:
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]


def test_pynetdicom_is_the_version_that_the_hooks_were_written_for() -> None:
    assert version("pynetdicom") == "3.0.4"


@pytest.mark.parametrize("name", HOOKS)
def test_what_the_hooks_rely_upon_is_unchanged(name: str) -> None:
    function, known = HOOKS[name]
    assert digest(function) == known, f"pynetdicom's {name} changed: see this module's text"


def test_the_state_machine_is_unchanged() -> None:
    table = repr(sorted(fsm.TRANSITION_TABLE.items()))
    assert hashlib.sha256(table.encode()).hexdigest()[:16] == "73f9bd6de4b8d8ee"
    actions = "".join(inspect.getsource(action[1]) for _, action in sorted(fsm.ACTIONS.items()))
    assert hashlib.sha256(actions.encode()).hexdigest()[:16] == "f2b57e3b20206fc6"


def test_the_log_setting_exists() -> None:
    assert _config.LOG_HANDLER_LEVEL in {"standard", "none"}
