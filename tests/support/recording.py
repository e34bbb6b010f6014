"""Records what is asked of AWS and by whom, as IAM would name it: endpoints that pass every request on to the real ones."""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.http_endpoint import HttpEndpoint, QuietHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}
_SERVICES = {"AWSEvents": "events", "AWSStepFunctions": "states", "AmazonSQS": "sqs", "secretsmanager": "secretsmanager"}


@dataclass(frozen=True, order=True)
class Call:
    """An IAM action, and for S3 the key or the bucket that it is on."""

    caller: str
    action: str
    resource: str = ""


class RecordingEndpoint(HttpEndpoint):
    """Passes requests on to `upstream`. `name_caller` tells who sent one, of its headers."""

    def __init__(self, upstream: str, name_caller: Callable[[Mapping[str, str]], str]) -> None:
        self.calls: set[Call] = set()
        self.requests: Counter[str] = Counter()
        """How often each action was asked for. S3's copies count as the PUT that they are billed as."""
        lock = threading.Lock()
        recording, address = self, urlsplit(upstream)

        class Handler(QuietHandler):
            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                caller = name_caller(dict(self.headers))
                actions = _actions(self.command, self.path, dict(self.headers), body)
                with lock:
                    recording.calls |= {Call(caller, action, resource) for action, resource in actions}
                    recording.requests[max(action for action, _ in actions)] += 1
                upstream = http.client.HTTPConnection(address.hostname or "", address.port, timeout=900)
                try:
                    upstream.request(self.command, self.path, body, dict(self.headers))
                    answer = upstream.getresponse()
                    content = answer.read()
                finally:
                    upstream.close()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP_BY_HOP | {"content-length", "date", "server"}:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815 - the base class's names

        super().__init__(Handler)


def app_id(headers: Mapping[str, str]) -> str:
    """The function that an SDK's request comes from, by AWS_SDK_UA_APP_ID of its environment."""
    found = re.search(r"\bapp/(\w+)", headers.get("User-Agent", ""))
    return found.group(1) if found else "?"


def _actions(method: str, target: str, headers: Mapping[str, str], body: bytes) -> set[tuple[str, str]]:
    """(action, resource) pairs that a request needs to be allowed."""
    by_name = {name.lower(): value for name, value in headers.items()}
    path, query = urlsplit(target).path, parse_qs(urlsplit(target).query, keep_blank_values=True)
    if operation := by_name.get("x-amz-target"):
        service, _, name = operation.partition(".")
        return {(f"{_SERVICES[service]}:{name}", "")}
    if by_name.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {(f"sns:{parse_qs(body.decode())['Action'][0]}", "")}
    if invoked := re.fullmatch(r"/2015-03-31/functions/([^/]+)/invocations", path):
        return {("lambda:InvokeFunction", unquote(invoked.group(1)).rpartition(":")[2])}
    if imaging := re.match(r"/(start|get)DICOMImportJob/", path):
        return {(f"medical-imaging:{imaging.group(1).capitalize()}DICOMImportJob", "")}
    return _s3_actions(method, path, query, by_name)


def _s3_actions(method: str, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]) -> set[tuple[str, str]]:
    """S3 API reference, "Actions, resources, and condition keys": which right an operation needs."""
    key = unquote(path).lstrip("/").partition("/")[2]
    if not key:
        return {("s3:ListBucket", "")}
    if method in ("GET", "HEAD"):
        return {("s3:GetObjectVersion" if "versionId" in query else "s3:GetObject", key)}
    if method == "DELETE":
        return {("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", key)}
    source = unquote(headers.get("x-amz-copy-source", "")).lstrip("/").partition("/")[2]
    return {("s3:PutObject", key)} | ({("s3:GetObject", source)} if source else set())
