"""The receiver's settings: checked, frozen. receiver/configuration.py reads them, once.

AWS's endpoint, region and credentials come from the standard AWS_* variables.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contract.association import check_edge_id
from contract.strict import ContractError
from receiver.dicom.client import Address

PREFIX = "AHI_INGEST_"


def _split(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def _addresses(value: object) -> object:
    if not isinstance(value, str):
        return value
    addresses = {}
    for item in _split(value):
        name, _, address = item.partition("=")
        host, _, port = address.removeprefix("tls://").rpartition(":")
        if not name or not host or not port.isdecimal():
            raise ValueError(f"expected AE=host:port or AE=tls://host:port, and not {item!r}")
        addresses[name.strip()] = (host.strip("[]"), int(port), address.startswith("tls://"))
    return addresses


_Separated = (NoDecode, BeforeValidator(lambda value: _split(value) if isinstance(value, str) else value))  # by commas


class SettingsError(Exception):
    """The environment does not make a receiver. The text has a line for each setting and says what to do."""


class Settings(BaseSettings):
    """One field for each setting; its variable is the name in capitals after `AHI_INGEST_`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    edge_id: str = Field(description="This edge's name: up to 32 of a-z, 0-9 and '-'. It stands in every S3 key.")
    bucket: str = Field(description="The S3 bucket. Drain the receiver before you change it.", min_length=3, max_length=63)
    queue_url: str = Field(description="The URL of the edge's SQS queue `inbound`.", pattern=r"^https?://")
    spool: Path = Field(description="The folder that keeps objects until they are in S3; on a disk that keeps its promises.")

    host: str = Field("0.0.0.0", description="The address to listen on.")  # noqa: S104 - promiscuous by design
    port: int = Field(11112, ge=-1, le=65535, description="The port without TLS; 0 takes a free one, -1 opens none.")
    tls_port: int = Field(
        -1, ge=-1, le=65535, description="The port with TLS, as a rule 2762; 0 takes a free one, -1 opens none."
    )
    tls_certificate: Path | None = Field(None, description="The receiver's certificate and those that signed it, a PEM file.")
    tls_key: Path | None = Field(None, description="The certificate's key, a PEM file without a password.")
    tls_client_ca: Path | None = Field(
        None, description="A PEM file of CAs; when set, a TLS peer must present a certificate that one of them signed."
    )
    ae_title: str = Field(
        "AHI_INGEST", min_length=1, max_length=16, description="The receiver's own AE title; it answers to any."
    )
    workers: int = Field(1, ge=1, le=64, description="Processes that receive, on one port; more than 1 have a supervisor.")
    max_associations: int = Field(1000, ge=1, le=20_000, description="Associations at once; more are rejected 2/3/2.")
    max_associations_per_ae: int = Field(0, ge=0, description="Associations at once of one calling AE title; 0 is no limit.")
    max_associations_per_address: int = Field(0, ge=0, description="Associations at once of one address; 0 is no limit.")
    calling_ae_titles: Annotated[tuple[str, ...], *_Separated] = Field(
        (), description="Calling AE titles that are let in, separated by commas; others are rejected 1/1/3. Empty lets all in."
    )
    called_ae_titles: Annotated[tuple[str, ...], *_Separated] = Field(
        (), description="AE titles that the receiver answers to; others are rejected 1/1/7. Empty: to any."
    )
    storing_ae_titles: Annotated[tuple[str, ...], *_Separated] = Field(
        (), description="Calling AE titles that may store; the objects of others are answered 0x0124. Empty: all may."
    )
    transfer_syntax_preference: Annotated[tuple[str, ...], *_Separated] = Field(
        (), description="UIDs of transfer syntaxes, the best first, among those proposed. Empty: the sender's order decides."
    )
    networks: Annotated[tuple[IPv4Network | IPv6Network, ...], *_Separated] = Field(
        (), description="Networks (10.1.0.0/16) that are let in; others are rejected 1/1/1. Empty lets all in."
    )
    idle_timeout_seconds: float = Field(60, gt=0, description="An association that is silent this long is aborted.")
    artim_timeout_seconds: float = Field(
        30, gt=0, description="Longest wait for a request, or for a peer to close (PS3.8 9.1.5)."
    )
    slowest_bytes_per_second: float = Field(
        1000, ge=0, description="A peer that sends a message more slowly is aborted; 0 aborts none."
    )
    slowest_seconds: float = Field(60, gt=0, description="Over how long a wait for the rest of a message its pace is measured.")
    dimse_timeout_seconds: float = Field(30, gt=0, description="Longest wait for a response to a request of ours.")
    drain_timeout_seconds: float = Field(10, ge=0, description="After SIGTERM, the time for associations and uploads to end.")

    durability: Literal["object", "cloud", "none"] = Field(
        "object",
        description="What 0x0000 says: `object`, it is synced to disk; `cloud`, S3 has it too; `none`, nothing (benchmarks).",
    )
    confirmation_seconds: float = Field(
        20, gt=0, description="With durability `cloud`, how long S3 may take; then 0xA700 is answered, and the object is kept."
    )
    validation: Literal["quarantine", "strict"] = Field(
        "quarantine",
        description="What cannot be read, or is not what its command named: `quarantine` keeps it, `strict` refuses it.",
    )
    disk_low_bytes: int = Field(5 * 10**9, ge=0, description="Free space of the spool's disk below which senders are slowed.")
    disk_reserve_bytes: int = Field(
        10**9, ge=0, description="Free space below which objects get 0xA700 and associations are rejected 2/3/1."
    )

    recycle_bytes: int = Field(
        10**9,
        ge=0,
        description="Files of uploaded objects that are kept for new ones to write over, which syncs faster; 0 keeps none.",
    )

    commitment_keep_days: float = Field(
        90, ge=0, description="How long it is known what S3 has, for storage commitment; 0 offers no storage commitment."
    )
    commitment_deadline_seconds: float = Field(
        600,
        gt=0,
        description="How long S3, or HealthImaging, may take before objects that are asked about are answered 0x0213.",
    )
    commitment_after: Literal["s3", "healthimaging"] = Field(
        "s3", description="What commitment says: `s3`, S3 has verified the object; `healthimaging`, it has been imported too."
    )
    commitment_function: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_:-]{0,170}$",
        description="The name or ARN of the edge's own function `answer`, for AHI_INGEST_COMMITMENT_AFTER `healthimaging`.",
    )
    commitment_retry_max_seconds: float = Field(900, gt=0, description="Longest time between attempts to report a commitment.")
    commitment_peers: Annotated[dict[str, Address], NoDecode, BeforeValidator(_addresses)] = Field(
        {},
        description="Where to report commitments: AE=host:port or AE=tls://host:port, ...; others get theirs when they call.",
    )

    coalesce_seconds: float = Field(
        0, ge=0, description="How long an association's manifest waits for more of the same sender to share it; 0: not at all."
    )
    part_max_objects: int = Field(5_000, ge=1, description="Objects in a part, which is one import job.")
    part_max_bytes: int = Field(10 * 10**9, ge=1, description="Bytes in a part.")
    object_max_bytes: int = Field(
        10 * 10**9, ge=1, description="Bytes in an object; a larger one is kept, quarantined and not imported."
    )
    kms_key_id: str = Field("", description="The KMS key, its id or ARN, that S3 encrypts with; empty: what the bucket says.")
    upload_workers: int = Field(8, ge=1, le=64, description="Uploads at once; each holds at most 1 MiB of its object.")
    upload_backoff_max_seconds: float = Field(20, gt=0, description="Longest wait of an upload worker after a failure.")

    quarantine_keep_days: float = Field(
        30, ge=0, description="How long copies of quarantined objects stay on this machine; 0 keeps none. S3 keeps its own."
    )
    health_host: str = Field("127.0.0.1", description="The address of /livez, /readyz and /metrics, which ask for no password.")
    health_port: int = Field(11180, ge=-1, le=65535, description="Their port; 0 takes a free one, -1 opens none.")
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

    @model_validator(mode="after")
    def _disk(self) -> Settings:
        if self.disk_low_bytes < self.disk_reserve_bytes:
            raise ValueError("AHI_INGEST_DISK_LOW_BYTES must be at least AHI_INGEST_DISK_RESERVE_BYTES")
        return self

    @model_validator(mode="after")
    def _commitment(self) -> Settings:
        if self.commitment_after == "healthimaging" and not self.commitment_function:
            raise ValueError("AHI_INGEST_COMMITMENT_AFTER `healthimaging` needs AHI_INGEST_COMMITMENT_FUNCTION")
        return self

    @model_validator(mode="after")
    def _tls(self) -> Settings:
        if self.tls_port >= 0 and (self.tls_certificate is None or self.tls_key is None):
            raise ValueError("AHI_INGEST_TLS_PORT needs AHI_INGEST_TLS_CERTIFICATE and AHI_INGEST_TLS_KEY")
        if self.tls_port < 0 and self.port < 0:
            raise ValueError("AHI_INGEST_PORT and AHI_INGEST_TLS_PORT are both -1: open one of them")
        return self

    @field_validator("spool")
    @classmethod
    def _spool(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("expected an absolute path")
        return value
