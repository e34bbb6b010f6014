"""An S3 that keeps objects in memory and answers a GET after a latency: what indexing costs where S3's own time is known.

    python -m bench.s3_memory PORT SECONDS

PUT of a bucket or object, GET of an object or a range of it, DELETE; nothing else. It takes any credentials.
"""

from __future__ import annotations

import asyncio
import re
import sys
from http import HTTPStatus
from urllib.parse import unquote

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Memory(asyncio.Protocol):
    """One connection. `objects` by path, shared by all."""

    def __init__(self, objects: dict[str, bytes], latency_seconds: float) -> None:
        self._objects, self._latency_seconds = objects, latency_seconds
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a TCP server's
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._received[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self._received) < whole:
                if headers.get("expect", "").lower() == "100-continue" and len(self._received) == end + 4:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = bytes(self._received[end + 4 : whole])
            del self._received[:whole]
            method, target, _ = first.split(" ")
            self._answer(method, unquote(target.partition("?")[0]), headers, body)

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        match method:
            case "PUT" if "content-encoding" not in headers:
                self._objects[path] = body
                self._write(HTTPStatus.OK)
            case "DELETE":
                self._objects.pop(path, None)
                self._write(HTTPStatus.NO_CONTENT)
            case "GET":
                asyncio.get_running_loop().call_later(self._latency_seconds, self._get, path, headers.get("range", ""))
            case _:
                self._write(HTTPStatus.NOT_IMPLEMENTED)

    def _get(self, path: str, wanted: str) -> None:
        content = self._objects.get(path)
        if content is None:
            self._write(HTTPStatus.NOT_FOUND, b"<Error><Code>NoSuchKey</Code></Error>")
        elif found := _RANGE.fullmatch(wanted):
            first = int(found[1])
            part = memoryview(content)[first : int(found[2]) + 1]
            self._write(
                HTTPStatus.PARTIAL_CONTENT, part, f"Content-Range: bytes {first}-{first + len(part) - 1}/{len(content)}"
            )
        else:
            self._write(HTTPStatus.OK, content)

    def _write(self, status: HTTPStatus, body: bytes | memoryview = b"", *headers: str) -> None:
        head = [f"HTTP/1.1 {status.value} {status.phrase}", f"Content-Length: {len(body)}", 'ETag: "0"']
        modified = "Last-Modified: Tue, 24 Nov 2026 00:00:00 GMT"
        self._transport.writelines(["\r\n".join([*head, modified, *headers, "\r\n"]).encode(), body])


async def main(port: int, latency_seconds: float) -> None:
    objects: dict[str, bytes] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Memory(objects, latency_seconds), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
