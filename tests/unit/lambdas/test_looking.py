"""Objects that are looked at side by side: how much of them is in memory at once."""

from __future__ import annotations

import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from lambdas.catalog.objects import Described
from lambdas.logic.header import FIRST_READ_BYTES, LARGE_BYTES
from lambdas.logic.indexing import Looked, look
from tests.support.elements import DEFLATED, element, part10

SOP = element(0x00080018, b"UI", b"1.2.3\0")
AT_ONCE = 4


class Gathering:
    """Looks at several objects, whose second reads wait a little for each other; `most` is how many then read at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._lock = threading.Lock()
        self._waiting = 0
        self.most = 0
        self._all_here = threading.Event()

    def read_range(self, first: int, count: int) -> bytes:
        if first >= FIRST_READ_BYTES:
            with self._lock:
                self._waiting += 1
                self.most = max(self.most, self._waiting)
                if self._waiting == AT_ONCE:
                    self._all_here.set()
            self._all_here.wait(0.2)
            with self._lock:
                self._waiting -= 1
        return self._content[first : first + count]

    def look(self) -> list[Looked]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            looks = [
                pool.submit(look, self.read_range, len(self._content), object_order="1.1.a.1.1", issuer="")
                for _ in range(AT_ONCE)
            ]
            return [one.result() for one in looks]


def deflated(data_set: bytes) -> bytes:
    compressor = zlib.compressobj(0, wbits=-zlib.MAX_WBITS)
    return part10(compressor.compress(data_set) + compressor.flush(), DEFLATED)


@pytest.mark.parametrize(
    ("content", "at_once"),
    [
        (part10(SOP + element(0x00091010, b"UN", bytes(LARGE_BYTES // 2))), AT_ONCE),
        (part10(SOP + element(0x00091010, b"UN", bytes(LARGE_BYTES))), 1),
        (deflated(SOP + element(0x00091010, b"UN", bytes(LARGE_BYTES // 2))), 1),
    ],
    ids=["usual", "large", "deflated"],
)
def test_of_large_headers_and_deflated_ones_no_more_than_one_is_read_at_once(content: bytes, at_once: int) -> None:
    gathering = Gathering(content)
    looked = gathering.look()
    assert gathering.most == at_once
    assert {type(one.outcome) for one in looked} == {Described}


def test_after_a_large_header_that_cannot_be_read_the_next_one_is() -> None:
    broken = part10(SOP + element(0x00091010, b"UN", bytes(LARGE_BYTES))[:-1])
    for looked in Gathering(broken).look():
        assert isinstance(looked.outcome, str)
        assert "cut short" in looked.outcome
