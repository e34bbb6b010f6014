"""The service over HTTP, as rest-json has it, and the control endpoint for tests under `/_control/`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.healthimaging.errors import ServiceError
from local.healthimaging.faults import FaultsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from local.healthimaging.faults import Faults
    from local.healthimaging.service import Answer, Service
    from local.healthimaging.validation import Body


def application(service: Service, faults: Faults) -> Starlette:
    routes = _import_routes(service) + _image_set_routes(service) + _datastore_routes(service) + _control_routes(faults)
    return Starlette(routes=routes, exception_handlers={HTTPException: _unknown_operation})


def _import_routes(service: Service) -> list[Route]:
    def start(request: Request, body: Body) -> Answer:
        return service.start_dicom_import_job(request.path_params["datastore"], body)

    def get(request: Request, _: Body) -> Answer:
        return service.get_dicom_import_job(request.path_params["datastore"], request.path_params["job"])

    def list_jobs(request: Request, _: Body) -> Answer:
        status = request.query_params.get("jobStatus")
        return service.list_dicom_import_jobs(request.path_params["datastore"], status, *_page(request))

    return [
        _route("POST", "/startDICOMImportJob/datastore/{datastore}", start),
        _route("GET", "/getDICOMImportJob/datastore/{datastore}/job/{job}", get),
        _route("GET", "/listDICOMImportJobs/datastore/{datastore}", list_jobs),
    ]


def _image_set_routes(service: Service) -> list[Route]:
    def ids(request: Request) -> tuple[str, str, str | None]:
        return request.path_params["datastore"], request.path_params["image_set"], request.query_params.get("version")

    def get(request: Request, _: Body) -> Answer:
        return service.get_image_set(*ids(request))

    def metadata(request: Request, _: Body) -> Response:
        blob = service.get_image_set_metadata(*ids(request))
        return Response(blob, media_type="application/json", headers={"Content-Encoding": "gzip"})

    def search(request: Request, body: Body) -> Answer:
        return service.search_image_sets(request.path_params["datastore"], body, *_page(request))

    return [
        _route("POST", "/datastore/{datastore}/imageSet/{image_set}/getImageSet", get),
        _route("POST", "/datastore/{datastore}/imageSet/{image_set}/getImageSetMetadata", metadata),
        _route("POST", "/datastore/{datastore}/searchImageSets", search),
    ]


def _datastore_routes(service: Service) -> list[Route]:
    def create(_request: Request, body: Body) -> Answer:
        return service.create_datastore(body)

    def list_datastores(request: Request, _: Body) -> Answer:
        return service.list_datastores(request.query_params.get("datastoreStatus"), *_page(request))

    def get(request: Request, _: Body) -> Answer:
        return service.get_datastore(request.path_params["datastore"])

    def delete(request: Request, _: Body) -> Answer:
        return service.delete_datastore(request.path_params["datastore"])

    return [
        _route("POST", "/datastore", create),
        _route("GET", "/datastore", list_datastores),
        _route("GET", "/datastore/{datastore}", get),
        _route("DELETE", "/datastore/{datastore}", delete),
    ]


def _control_routes(faults: Faults) -> list[Route]:
    def health(_request: Request, _: Body) -> Answer:
        return {"status": "ready"}

    def get(_request: Request, _: Body) -> Answer:
        return dict(faults.current())

    def replace(_request: Request, body: Body) -> Answer:
        return dict(faults.replace(body))

    return [
        _route("GET", "/_control/health", health),
        _route("GET", "/_control/faults", get),
        _route("POST", "/_control/faults", replace),
    ]


def _page(request: Request) -> tuple[str | None, str | None]:
    return request.query_params.get("maxResults"), request.query_params.get("nextToken")


def _route(method: str, path: str, operation: Callable[[Request, Body], Answer | Response]) -> Route:
    return Route(path, _endpoint(operation), methods=[method])


def _endpoint(operation: Callable[[Request, Body], Answer | Response]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            body = json.loads(await request.body() or b"{}")
            if not isinstance(body, dict):
                raise ValueError  # noqa: TRY301, TRY004 - answered as JSON that cannot be read
        except ValueError:
            return _error("SerializationException", "The request body is not a JSON object.", 400)
        try:
            answer = await run_in_threadpool(operation, request, body)
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
