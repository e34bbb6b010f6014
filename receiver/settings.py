"""The receiver's settings: read once from the environment (prefix `AHI_INGEST_`), checked, frozen.

AWS's endpoint, region and credentials come from the standard AWS_* variables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract.association import check_edge_id
from contract.strict import ContractError

PREFIX = "AHI_INGEST_"


class SettingsError(Exception):
    """The environment does not make a receiver. The text has a line for each setting and says what to do."""


class Settings(BaseSettings):
    """One field for each setting; its variable is the name in capitals after `AHI_INGEST_`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    edge_id: str = Field(description="This edge's name: up to 32 of a-z, 0-9 and '-'. It stands in every S3 key.")
    bucket: str = Field(description="The S3 bucket.", min_length=3, max_length=63)
    queue_url: str = Field(description="The URL of the edge's SQS queue `inbound`.", pattern=r"^https?://")
    spool: Path = Field(description="The folder that keeps objects until they are in S3; on a disk that keeps its promises.")

    host: str = Field("0.0.0.0", description="The address to listen on.")  # noqa: S104 - promiscuous by design
    port: int = Field(11112, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    ae_title: str = Field(
        "AHI_INGEST", min_length=1, max_length=16, description="The receiver's own AE title; it answers to any."
    )
    workers: int = Field(1, ge=1, le=64, description="Processes that receive, on one port; more than 1 have a supervisor.")
    max_associations: int = Field(1000, ge=1, le=20_000, description="Associations at once; more are rejected 2/3/2.")
    idle_timeout_seconds: float = Field(60, gt=0, description="An association that is silent this long is aborted.")
    artim_timeout_seconds: float = Field(
        30, gt=0, description="Longest wait for a request, or for a peer to close (PS3.8 9.1.5)."
    )
    drain_timeout_seconds: float = Field(10, ge=0, description="After SIGTERM, the time for associations and uploads to end.")

    part_max_objects: int = Field(5_000, ge=1, description="Objects in a part, which is one import job.")
    part_max_bytes: int = Field(10 * 10**9, ge=1, description="Bytes in a part.")
    upload_workers: int = Field(8, ge=1, le=64, description="Uploads at once; each holds at most 8 MiB.")
    upload_backoff_max_seconds: float = Field(20, gt=0, description="Longest wait of an upload worker after a failure.")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="What is logged.")

    @field_validator("edge_id")
    @classmethod
    def _edge_id(cls, value: str) -> str:
        try:
            return check_edge_id(value)
        except ContractError as error:
            raise ValueError(str(error)) from None

    @field_validator("ae_title")
    @classmethod
    def _ae_title(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable() or "\\" in value or not value.strip():
            raise ValueError("expected printable ASCII without a backslash, not only spaces")
        return value

    @field_validator("spool")
    @classmethod
    def _spool(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("expected an absolute path")
        return value


def read_settings() -> Settings:
    """The settings of this process's environment. Raises SettingsError."""
    try:
        return Settings()  # type: ignore[call-arg]  # the environment gives the required ones
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_url=False, include_input=False, include_context=False):
            name = str(fault["loc"][0]) if fault["loc"] else ""
            about = Settings.model_fields[name].description if name in Settings.model_fields else ""
            what = "is not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
            lines.append(f"Set {PREFIX}{name.upper()}: {what}. {about}")
        raise SettingsError("\n".join(lines)) from None
