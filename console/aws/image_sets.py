"""Image sets, read back from HealthImaging itself."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from console.aws.told import told

if TYPE_CHECKING:
    from mypy_boto3_medical_imaging import HealthImagingClient


class ImageSets:
    """One data store of HealthImaging."""

    def __init__(self, client: HealthImagingClient, datastore_id: str) -> None:
        self._client = client
        self._datastore_id = datastore_id

    def of_study(self, study_instance_uid: str) -> dict[str, int]:
        """The version of each image set of a study, by its id (SearchImageSets)."""
        found: dict[str, int] = {}
        criteria: Any = {"filters": [{"values": [{"DICOMStudyInstanceUID": study_instance_uid}], "operator": "EQUAL"}]}
        with told("medical-imaging:SearchImageSets"):
            pages = self._client.get_paginator("search_image_sets").paginate(
                datastoreId=self._datastore_id, searchCriteria=criteria
            )
            for page in pages:
                found |= {one["imageSetId"]: one["version"] for one in page["imageSetsMetadataSummaries"]}
        return found

    def metadata(self, image_set_id: str) -> dict[str, Any] | None:
        """The newest metadata document of an image set; None when HealthImaging has no such image set."""
        with told("medical-imaging:GetImageSetMetadata"):
            try:
                answer = self._client.get_image_set_metadata(datastoreId=self._datastore_id, imageSetId=image_set_id)
            except self._client.exceptions.ResourceNotFoundException:
                return None
            document: dict[str, Any] = json.loads(gzip.decompress(answer["imageSetMetadataBlob"].read()))
        return document
