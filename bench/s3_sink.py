"""An S3 that costs next to nothing: it reads each PUT's body, throws it away, and answers 200. For measuring clients.

    python -m bench.s3_sink PORT

Single PUTs only; a listing tells how many keys a prefix has. To POST it answers as SQS does to SendMessage.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

_HEAD_MAX_BYTES = 64 * 1024


class Sink(asyncio.Protocol):
    """One connection. `keys` is shared by all."""

    def __init__(self, keys: set[str]) -> None:
        self._keys, self._head, self._body_left, self._answer = keys, b"", 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a TCP server's
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        while data:
            if self._body_left:
                used = min(self._body_left, len(data))
                self._body_left -= used
                data = data[used:]
            else:
                head, end, data = (self._head + data).partition(b"\r\n\r\n")
                self._head = b"" if end else head
                if not end:
                    if len(head) > _HEAD_MAX_BYTES:
                        self._transport.abort()
                    return
                self._begin(head.decode("latin-1"))
            if not self._body_left:
                self._transport.write(self._answer)

    def _begin(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._body_left = int(headers.get("content-length", 0))
        url = urlsplit(target)
        body = b""
        if method == "PUT":
            self._keys.add(url.path.split("/", 2)[-1])
        elif method == "GET":
            prefix = parse_qs(url.query).get("prefix", [""])[0]
            count = sum(key.startswith(prefix) for key in self._keys)
            body = f"<ListBucketResult><KeyCount>{count}</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>".encode()
        elif method == "POST":
            body = b'{"MessageId":"0"}'
        self._answer = b'HTTP/1.1 200 OK\r\nETag: "0"\r\nContent-Length: %d\r\n\r\n%b' % (len(body), body)
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def main(port: int) -> None:
    keys: set[str] = set()
    server = await asyncio.get_running_loop().create_server(lambda: Sink(keys), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
