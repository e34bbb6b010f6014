"""An HTTP endpoint that answers as told, for clients of AWS: what a service says, word for word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.http_endpoint import HttpEndpoint, QuietHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Answer = tuple[int, Mapping[str, str], Any]


class AwsEndpoint(HttpEndpoint):
    """`answer(method, path, body)` gives status, headers and the JSON body. `requests` keeps what came, in order."""

    def __init__(self, answer: Callable[[str, str, Any], Answer]) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        endpoint = self

        class Handler(QuietHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = (self.command, self.path, json.loads(body) if body else None)
                endpoint.requests.append(request)
                status, headers, document = answer(*request)
                content = json.dumps(document).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _serve  # noqa: N815 - the base class's names

        super().__init__(Handler)
