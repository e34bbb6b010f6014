"""The answer that most objects get, put together from parts, is the one that is encoded element by element."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from receiver.dicom import pdu

UIDS = st.binary(max_size=80)


@given(
    context_id=st.integers(1, 255), sop_class=UIDS, sop_instance=UIDS, message_ids=st.lists(st.integers(0, 0xFFFF), min_size=1)
)
def test_success_is_the_response_with_status_0(
    context_id: int, sop_class: bytes, sop_instance: bytes, message_ids: list[int]
) -> None:
    for message_id in message_ids:
        expected = pdu.store_response(context_id, sop_class, sop_instance, message_id, 0x0000)
        assert pdu.store_success(context_id, sop_class, sop_instance, message_id) == expected


def test_what_a_sender_makes_up_is_not_kept() -> None:
    kept = pdu._around_message_id.cache_info().currsize

    pdu.store_success(1, b"1" * 65, b"1.2.3", 1)
    pdu.store_success(1, b"1.2", b"1" * 65, 1)

    assert pdu._around_message_id.cache_info().currsize == kept
