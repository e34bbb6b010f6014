"""The service over HTTP, as rest-json has it, and the control endpoint for tests under `/_control/`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.healthimaging.errors import ServiceError
from local.healthimaging.faults import FaultsError
from local.healthimaging.validation import Body, Page

if TYPE_CHECKING:
    from local.healthimaging.datastores import Datastores
    from local.healthimaging.faults import Faults
    from local.healthimaging.image_sets import ImageSets
    from local.healthimaging.import_jobs import ImportJobs
    from local.healthimaging.throttle import Throttle

Answer = dict[str, Any]
Act = Callable[[Request, Body], Answer | Response]


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """What the server answers with."""

    import_jobs: ImportJobs
    image_sets: ImageSets
    datastores: Datastores
    throttle: Throttle
    faults: Faults


def application(emulator: Emulator) -> Starlette:
    routes = [
        Route(path, _service_endpoint(emulator, operation, act), methods=[method])
        for operation, (method, path, act) in operations(emulator).items()
    ]
    return Starlette(routes=routes + _control_routes(emulator.faults), exception_handlers={HTTPException: _unknown_operation})


def operations(emulator: Emulator) -> dict[str, tuple[str, str, Act]]:
    """Every operation of the service that is emulated: its method, its path, and what answers it."""
    jobs, image_sets, datastores = emulator.import_jobs, emulator.image_sets, emulator.datastores
    store, one = "/datastore/{datastore}", "/datastore/{datastore}/imageSet/{image_set}"

    def of(request: Request) -> str:
        return str(request.path_params["datastore"])

    def ids(request: Request) -> tuple[str, str]:
        return of(request), str(request.path_params["image_set"])

    def version(request: Request) -> str | None:
        return request.query_params.get("version")

    def metadata(request: Request, _: Body) -> Response:
        blob = image_sets.metadata(*ids(request), version(request))
        return Response(blob, media_type="application/json", headers={"Content-Encoding": "gzip"})

    def list_jobs(request: Request, _: Body) -> Answer:
        return jobs.list(of(request), request.query_params.get("jobStatus"), _page(request))

    def list_datastores(request: Request, _: Body) -> Answer:
        return datastores.list(request.query_params.get("datastoreStatus"), _page(request))

    return {
        "StartDICOMImportJob": (
            *("POST", f"/startDICOMImportJob{store}"),
            lambda request, body: jobs.start(of(request), body),
        ),
        "GetDICOMImportJob": (
            *("GET", f"/getDICOMImportJob{store}/job/{{job}}"),
            lambda request, _: jobs.get(of(request), request.path_params["job"]),
        ),
        "ListDICOMImportJobs": ("GET", f"/listDICOMImportJobs{store}", list_jobs),
        "GetImageSet": ("POST", f"{one}/getImageSet", lambda request, _: image_sets.get(*ids(request), version(request))),
        "GetImageSetMetadata": ("POST", f"{one}/getImageSetMetadata", metadata),
        "ListImageSetVersions": (
            *("POST", f"{one}/listImageSetVersions"),
            lambda request, _: image_sets.versions(*ids(request), _page(request)),
        ),
        "SearchImageSets": (
            *("POST", f"{store}/searchImageSets"),
            lambda request, body: image_sets.search(of(request), body, _page(request)),
        ),
        "DeleteImageSet": ("POST", f"{one}/deleteImageSet", lambda request, _: image_sets.delete(*ids(request))),
        "CreateDatastore": ("POST", "/datastore", lambda _, body: datastores.create(body)),
        "ListDatastores": ("GET", "/datastore", list_datastores),
        "GetDatastore": ("GET", store, lambda request, _: datastores.get(of(request))),
        "DeleteDatastore": ("DELETE", store, lambda request, _: datastores.delete(of(request))),
    }


def _control_routes(faults: Faults) -> list[Route]:
    def health(_request: Request, _: Body) -> Answer:
        return {"status": "ready"}

    def get(_request: Request, _: Body) -> Answer:
        return dict(faults.current())

    def replace(_request: Request, body: Body) -> Answer:
        return dict(faults.replace(body))

    return [
        Route("/_control/health", _endpoint(health), methods=["GET"]),
        Route("/_control/faults", _endpoint(get), methods=["GET"]),
        Route("/_control/faults", _endpoint(replace), methods=["POST"]),
    ]


def _page(request: Request) -> Page:
    return Page.asked(request.query_params.get("maxResults"), request.query_params.get("nextToken"))


def _service_endpoint(emulator: Emulator, operation: str, act: Act) -> Callable[[Request], Any]:
    """An operation of the service: it has a rate, and may meet a fault."""

    def limited(request: Request, body: Body) -> Answer | Response:
        emulator.throttle.take(operation)
        fault = emulator.faults.of_request(operation)
        if fault is not None and not fault.carried_out:
            raise fault.answer()
        answer = act(request, body)
        if fault is not None:
            raise fault.answer()
        return answer

    return _endpoint(limited)


def _endpoint(act: Act) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            body = json.loads(await request.body() or b"{}")
            if not isinstance(body, dict):
                raise ValueError  # noqa: TRY301, TRY004 - answered as JSON that cannot be read
        except ValueError:
            return _error("SerializationException", "The request body is not a JSON object.", 400)
        try:
            answer = await run_in_threadpool(act, request, body)
        except ServiceError as error:
            return _error(error.name, error.message, error.status)
        except FaultsError as error:
            return _error("ValidationException", str(error), 400)
        response = answer if isinstance(answer, Response) else JSONResponse(answer)
        response.headers["x-amzn-RequestId"] = str(uuid4())
        return response

    return endpoint


def _error(name: str, message: str, status: int) -> Response:
    headers = {"x-amzn-ErrorType": name, "x-amzn-RequestId": str(uuid4())}
    return JSONResponse({"message": message}, status, headers=headers)


async def _unknown_operation(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _error(
        "UnknownOperationException", "This emulator has no such operation: see local/healthimaging/README.md.", status
    )
