"""Which presentation contexts are accepted, held against pydicom's dictionary and pynetdicom's lists."""

from __future__ import annotations

import pytest
from pynetdicom import sop_class

from receiver.dicom import pdu
from receiver.dicom.items import Roles, UserInformation
from receiver.dicom.negotiation import EXPLICIT_VR, IMPLICIT_VR, STORAGE_COMMITMENT, VERIFICATION, Negotiation
from receiver.dicom.pdu import AssociateRq, ContextResult, ProposedContext

CT, MR = b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.5.1.4.1.1.4"
JPEG, JPIP = b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.94"
STORED = sop_class._STORAGE_CLASSES | sop_class._NON_PATIENT_OBJECT_CLASSES
NOT_STORED = (
    sop_class._QR_CLASSES
    | sop_class._BASIC_WORKLIST_CLASSES
    | sop_class._PROCEDURE_STEP_CLASSES
    | sop_class._PRINT_MANAGEMENT_CLASSES
    | sop_class._UNIFIED_PROCEDURE_STEP_CLASSES
    | sop_class._RELEVANT_PATIENT_QUERY_CLASSES
    | sop_class._MEDIA_CREATION_CLASSES
    | sop_class._INSTANCE_AVAILABILITY_CLASSES
    | sop_class._SUBSTANCE_ADMINISTRATION_CLASSES
)


def answer(
    *contexts: tuple[bytes, tuple[bytes, ...]],
    preferred: tuple[str, ...] = (),
    roles: dict[bytes, Roles] | None = None,
    extended: dict[bytes, bytes] | None = None,
) -> tuple[list[ContextResult], UserInformation]:
    proposed = tuple(ProposedContext(2 * n + 1, abstract, syntaxes) for n, (abstract, syntaxes) in enumerate(contexts))
    asked = UserInformation(max_pdu_bytes=16384, roles=roles or {}, extended=extended or {})
    return Negotiation(preferred).answer(AssociateRq(b"A", b"B", b"", proposed, asked))


def result(abstract: bytes, *syntaxes: bytes, preferred: tuple[str, ...] = ()) -> tuple[int, bytes]:
    ((one,), _) = answer((abstract, syntaxes), preferred=preferred)
    return one.result, one.transfer_syntax


@pytest.mark.parametrize("name", sorted(STORED))
def test_every_storage_and_non_patient_object_class_is_accepted(name: str) -> None:
    assert result(STORED[name].encode(), EXPLICIT_VR) == (0, EXPLICIT_VR)


@pytest.mark.parametrize("uid", [b"1.2.3.4.5", b"1.2.840.10008.5.1.4.1.1.99999", b"private", b"1." * 150, b"\xff\x00\xfe"])
def test_a_class_that_nobody_knows_is_accepted(uid: bytes) -> None:
    assert result(uid, b"9.9 private", IMPLICIT_VR) == (0, b"9.9 private")


@pytest.mark.parametrize("name", sorted(NOT_STORED))
def test_a_class_that_is_known_for_something_else_is_refused(name: str) -> None:
    assert result(NOT_STORED[name].encode(), IMPLICIT_VR) == (3, IMPLICIT_VR)


@pytest.mark.parametrize("uid", [b"", b"1.2.840.10008.1.3.10", b"1.2.840.10008.1.20.2", IMPLICIT_VR, b"1.2.840.10008.3.1.1.1"])
def test_what_is_no_class_that_could_be_sent_is_refused(uid: bytes) -> None:
    assert result(uid, IMPLICIT_VR)[0] == 3


@pytest.mark.parametrize("number", [94, 95, 204, 205])
def test_syntaxes_that_hold_no_pixels_are_refused_unless_another_is_proposed(number: int) -> None:
    jpip = f"1.2.840.10008.1.2.4.{number}".encode()
    assert result(CT, jpip) == (4, jpip)
    assert result(CT, jpip, JPEG) == (0, JPEG)
    assert result(CT, jpip, JPEG, preferred=(jpip.decode(),)) == (0, JPEG)


def test_a_context_without_transfer_syntaxes_is_refused() -> None:
    assert result(CT) == result(CT, b"") == (4, b"")


def test_the_senders_order_decides_unless_the_setting_prefers_another() -> None:
    assert result(CT, JPEG, IMPLICIT_VR, EXPLICIT_VR) == (0, JPEG)
    preferred = ("1.2.840.10008.1.2.4.90", EXPLICIT_VR.decode(), IMPLICIT_VR.decode())
    assert result(CT, JPEG, IMPLICIT_VR, EXPLICIT_VR, preferred=preferred) == (0, EXPLICIT_VR)
    assert result(CT, JPEG, preferred=preferred) == (0, JPEG)


def test_storage_commitment_is_taken_in_syntaxes_whose_data_sets_can_be_read() -> None:
    assert result(STORAGE_COMMITMENT, JPEG, EXPLICIT_VR) == (0, EXPLICIT_VR)
    assert result(STORAGE_COMMITMENT, JPEG) == (4, JPEG)
    assert result(VERIFICATION, b"1.2.3") == (0, b"1.2.3")


def test_extended_negotiation_says_level_2_without_coercion() -> None:
    _, ours = answer((CT, (JPEG,)), (VERIFICATION, (JPEG,)), extended={CT: b"\x03", MR: b"\x03", VERIFICATION: b"\x01"})
    assert ours.extended == {CT: bytes((2, 0, 0, 0, 0, 0))}


def test_the_receiver_serves_and_uses_nothing() -> None:
    results, ours = answer(
        (CT, (JPEG,)),
        (MR, (JPEG,)),
        (STORAGE_COMMITMENT, (IMPLICIT_VR,)),
        roles={CT: Roles(True, True), MR: Roles(False, True)},
    )
    assert [one.result for one in results] == [0, 1, 0]
    assert ours.roles == {CT: Roles(scu=True, scp=False)}


def test_user_information_survives_the_wire() -> None:
    sent = UserInformation(
        max_pdu_bytes=4096, roles={CT: Roles(True, False), MR: Roles(False, True)}, extended={CT: b"\x02\0\0\0\0\0", MR: b""}
    )
    assert UserInformation.parse(sent.encode()) == sent


def test_pynetdicom_understands_the_answer() -> None:
    from pynetdicom.pdu import A_ASSOCIATE_AC

    request = AssociateRq(
        b"A".ljust(16),
        b"B".ljust(16),
        pdu.APPLICATION_CONTEXT,
        (ProposedContext(1, CT, (JPEG,)),),
        UserInformation(roles={CT: Roles(True, True)}, extended={CT: b"\x03\0\0\0\0\0"}),
    )
    results, ours = Negotiation().answer(request)
    decoded = A_ASSOCIATE_AC()
    decoded.decode(pdu.associate_ac(request=request, results=results, user_information=ours))
    user = decoded.user_information
    assert user is not None
    assert [(item.uid, item.scu, item.scp) for item in user.role_selection.values()] == [(CT.decode(), 1, 0)]
    assert [item.app_info for item in user.ext_neg] == [bytes((2, 0, 0, 0, 0, 0))]
