"""DICOM for tests: what pydicom bundles, and objects made to measure."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

BUNDLED = Path(pydicom.__file__).parent / "data"


def bundled_files() -> list[Path]:
    """Every file below pydicom's data folder that is DICOM with a SOP Instance UID and has file meta: what can be sent."""
    return [path for path in sorted(BUNDLED.rglob("*")) if path.is_file() and _can_be_sent(path)]


def _can_be_sent(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(128)
        if file.read(4) != b"DICM":
            return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of them are odd on purpose
        meta = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
    return all(meta.get(keyword) for keyword in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID"))


def ct_series(
    folder: Path, count: int, *, patient_id: str = "P-1", study_uid: str = "", pixels: bytes = bytes(8192)
) -> list[Path]:
    """`count` CT slices of one series, written below `folder`; 64 x 64 pixels of 16 bits unless `pixels` says otherwise."""
    study, series = study_uid or generate_uid(), generate_uid()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(1, count + 1):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_ = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        slice_.SOPClassUID = CTImageStorage
        slice_.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series
        slice_.PatientID, slice_.PatientName, slice_.PatientBirthDate, slice_.PatientSex = (
            patient_id,
            "Test^Case",
            "19700101",
            "O",
        )
        slice_.StudyDate, slice_.StudyTime, slice_.AccessionNumber, slice_.StudyID = "20261124", "081500", "A-1", "1"
        slice_.Modality, slice_.SeriesNumber, slice_.InstanceNumber = "CT", 1, number
        slice_.Rows = slice_.Columns = 64
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation, slice_.SamplesPerPixel = 15, 0, 1
        slice_.PhotometricInterpretation = "MONOCHROME2"
        slice_.add_new("PixelData", "OW", pixels)
        path = folder / f"{number:05}.dcm"
        slice_.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
