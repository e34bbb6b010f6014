"""The tables of an environment's file, each with its settings, their defaults, and what they must be."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from contract.association import check_edge_id
from contract.strict import ContractError

# https://docs.aws.amazon.com/general/latest/gr/healthimaging.html, "Service endpoints"
Region = Literal["us-east-1", "us-west-2", "ap-southeast-2", "eu-west-1", "eu-west-2"]
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
LogDays = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]


_ECR_IMAGE = r"[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/[a-z0-9._/-]+@sha256:[0-9a-f]{64}"
_AMI = "ami-[0-9a-f]{8,17}"


def matching(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=rf"^(?:{pattern})$", strict=True)


def _edge_id(value: object) -> object:
    try:
        return check_edge_id(value) if isinstance(value, str) else value
    except ContractError as error:
        raise ValueError(str(error)) from None


Arn = Annotated[str, StringConstraints(strict=True, min_length=20)]
EdgeId = Annotated[str, BeforeValidator(_edge_id)]
BucketName = Annotated[str, matching(r"|[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")]
WholeNumber = Annotated[int, Field(strict=True)]


class Section(BaseModel):
    """One table of the file. A field's description ends the sentence "NAME must be ..."."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Network(Section):
    """Where the functions run that reach the catalog."""

    vpc: Literal["new", "existing", "none"] = Field(
        default="new", description='"new", "existing", or "none" for a catalog that functions reach outside of any VPC'
    )
    cidr: Annotated[str, matching(r"[0-9]{1,3}(\.[0-9]{1,3}){3}/(1[6-9]|2[0-4])")] = Field(
        default="10.42.0.0/16", description='an address range from /16 to /24 for the new VPC, such as "10.42.0.0/16"'
    )
    nat: bool = Field(
        default=False, description="true for a NAT gateway in the new VPC (about 40 USD a month), which nothing here needs"
    )
    vpc_id: Annotated[str, matching("|vpc-[0-9a-f]+")] = Field(default="", description='the id of the existing VPC, "vpc-..."')
    subnet_ids: tuple[Annotated[str, matching("subnet-[0-9a-f]+")], ...] = Field(
        default=(), description='the ids of private subnets of the existing VPC, such as ["subnet-1a", "subnet-1b"]'
    )
    availability_zones: tuple[Annotated[str, matching("[a-z]{2}-[a-z]+-[0-9][a-z]")], ...] = Field(
        default=(), description='the zones of subnet_ids, in their order, such as ["eu-west-1a", "eu-west-1b"]'
    )
    route_table_ids: tuple[Annotated[str, matching("rtb-[0-9a-f]+")], ...] = Field(
        default=(), description='the route table of each of subnet_ids, in their order, such as ["rtb-1a", "rtb-1b"]'
    )
    endpoints: bool = Field(
        default=True,
        description="false when the existing VPC has NAT, or endpoints for S3, Secrets Manager, SNS and Step Functions, "
        "and those of receivers in it that docs/deploy.md lists",
    )

    @model_validator(mode="after")
    def _existing_is_named(self) -> Self:
        if self.vpc == "existing" and not (self.vpc_id and self.subnet_ids and self.availability_zones):
            raise ValueError(
                'network.vpc is "existing": give network.vpc_id, network.subnet_ids and network.availability_zones as well.'
            )
        if len(self.subnet_ids) != len(self.availability_zones):
            raise ValueError("network.availability_zones must name the zone of each of network.subnet_ids, in their order.")
        if self.vpc == "existing" and self.endpoints and len(self.route_table_ids) != len(self.subnet_ids):
            raise ValueError(
                "network.endpoints is true: give the route table of each of network.subnet_ids in network.route_table_ids, for "
                "the gateway to S3; or set network.endpoints = false, where the VPC has what is called."
            )
        if self.vpc != "existing" and self.vpc_id:
            raise ValueError('network.vpc_id names a VPC: set network.vpc = "existing", or remove it.')
        return self


class Storage(Section):
    """The bucket of objects and manifests, and the key that encrypts it."""

    bucket_name: BucketName = Field(
        default="", description='an S3 bucket name; left out, it is "ahi-ingest-ENVIRONMENT-ACCOUNT-REGION"'
    )
    existing: bool = Field(
        default=False,
        description="true when the bucket bucket_name exists, and is versioned, encrypted and closed by its owner",
    )
    encryption: Literal["kms", "s3"] = Field(
        default="kms", description='"kms" for a key of this account, or "s3" for keys of S3\'s'
    )
    kms_key_arn: Annotated[str, matching("|arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key/.+")] = Field(
        default="", description="the ARN of an existing KMS key, whose policy lets this environment's roles use it"
    )
    readers: tuple[Annotated[str, matching("arn:aws:iam::[0-9]{12}:(role|user)/.+")], ...] = Field(
        default=(),
        description="the ARNs of operators' roles that may also decrypt what is in the bucket, such as that of the console",
    )
    access_logs: bool = Field(default=True, description="true or false: whether requests to the bucket are logged in another")
    object_lock_days: Annotated[WholeNumber, Field(ge=0, le=36500)] = Field(
        default=0, description="how many days no one may delete an object (S3 Object Lock, governance mode); 0 is no lock"
    )
    archive_after_days: Annotated[WholeNumber, Field(ge=0, le=3650)] = Field(
        default=90, description="after how many days objects go to Glacier Instant Retrieval; 0 is never"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.existing and not self.bucket_name:
            raise ValueError("storage.existing is true: name the bucket in storage.bucket_name.")
        if self.existing and self.encryption == "kms" and not self.kms_key_arn:
            raise ValueError(
                "storage.existing is true: name the key that encrypts the bucket in storage.kms_key_arn, or set "
                'storage.encryption = "s3" where S3\'s own keys do.'
            )
        if self.kms_key_arn and self.encryption != "kms":
            raise ValueError('storage.kms_key_arn names a key: set storage.encryption = "kms", or remove it.')
        return self


class Catalog(Section):
    """The MySQL database: a new Aurora cluster, unless `secret_arn` says where one is."""

    secret_arn: Annotated[str, matching("|arn:aws:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+")] = Field(
        default="", description="the ARN of a Secrets Manager secret that holds host, port, username, password and dbname"
    )
    security_group_id: Annotated[str, matching("|sg-[0-9a-f]+")] = Field(
        default="", description='the security group of the existing database, "sg-...", which is opened to the functions'
    )
    port: Annotated[WholeNumber, Field(ge=1, le=65535)] = Field(
        default=3306, description="the port of the existing database, to which its security group is opened"
    )
    login: Literal["password", "iam"] = Field(
        default="password",
        description='how functions log in: "password" (the secret\'s), or "iam" (by their roles, as a user that changes rows '
        "and nothing else; for a new cluster)",
    )
    tls: Literal["verify", "off"] = Field(default="verify", description='"verify", or "off" for a database on the same machine')
    ca_file: Path | None = Field(default=None, description="a PEM file with the certificate authorities of the database")
    min_capacity: Annotated[float, Field(ge=0, le=256, multiple_of=0.5)] = Field(
        default=0.5, description="the fewest Aurora capacity units, in halves; 0 lets the cluster pause when nothing connects"
    )
    max_capacity: Annotated[float, Field(ge=1, le=256, multiple_of=0.5)] = Field(
        default=8, description="the most Aurora capacity units, in halves, from 1"
    )
    pause_after_minutes: Annotated[WholeNumber, Field(ge=5, le=1440)] = Field(
        default=30, description="after how many idle minutes (5 to 1440) a cluster with min_capacity 0 pauses"
    )
    standby: bool = Field(default=False, description="true for a second instance in another zone, to fail over to")
    backup_days: Annotated[WholeNumber, Field(ge=1, le=35)] = Field(default=14, description="how many days of backups: 1 to 35")
    migrate_on_deploy: bool = Field(
        default=True, description="true or false: whether a deployment brings the tables up to date by itself"
    )
    connections: Annotated[WholeNumber, Field(ge=0)] = Field(
        default=90,
        description="how many connections the database takes (max_connections); 0 reserves no concurrency for functions",
    )
    slices_at_once: Annotated[WholeNumber, Field(ge=1, le=40)] = Field(
        default=40,
        description="how many slices of an association are indexed side by side, 1 to 40, and no more than are reserved",
    )

    @property
    def new(self) -> bool:
        return not self.secret_arn

    @property
    def secret_resource(self) -> str:
        """The secret in a policy. Secrets Manager ends every ARN in six characters of its own, which `secret_arn` may lack."""
        complete = re.fullmatch(r".*-[A-Za-z0-9]{6}", self.secret_arn)
        return self.secret_arn if complete else f"{self.secret_arn}-??????"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ca_file is not None and not _are_certificates(self.ca_file):
            raise ValueError(f"catalog.ca_file must be a PEM file of certificates: {self.ca_file} is none, or is not there.")
        if self.min_capacity > self.max_capacity:
            raise ValueError("catalog.min_capacity must not be above catalog.max_capacity.")
        return self


class Imaging(Section):
    """The HealthImaging data store, and the role by which it reads and writes the bucket; each is new unless it is given."""

    datastore_id: Annotated[str, matching("|[0-9a-z]{32}")] = Field(
        default="", description="the id of a HealthImaging data store: 32 of 0-9 and a-z"
    )
    import_role_arn: Annotated[str, matching("|arn:aws:iam::[0-9]{12}:role/.+")] = Field(
        default="",
        description="the ARN of the role that medical-imaging.amazonaws.com assumes to read instances/ and write imports/",
    )
    kms_key_arn: Annotated[str, matching("|arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key/.+")] = Field(
        default="", description="the ARN of a KMS key for the new data store, with the policy of HealthImaging's guide"
    )


class Polling(Section):
    """How often a running import job is asked for its status: first, and at most, each wait half as long again."""

    first_seconds: Annotated[WholeNumber, Field(ge=1, le=3600)] = Field(default=10, description="a whole number from 1 to 3600")
    cap_seconds: Annotated[WholeNumber, Field(ge=1, le=3600)] = Field(default=60, description="a whole number from 1 to 3600")


class Edge(Section):
    """One edge: where its receiver runs. Each has an `inbound` queue, prefixes in the bucket, and a policy of its own."""

    receiver: Literal["elsewhere", "greengrass", "ecs", "ec2"] = Field(
        default="elsewhere",
        description='where the receiver runs: "greengrass" (a gateway in the hospital), "ecs" or "ec2" (in the VPC), or '
        '"elsewhere": then only its policy is made',
    )
    principal_arns: tuple[Annotated[str, matching("arn:aws:iam::[0-9]{12}:(role|user)/.+")], ...] = Field(
        default=(), description='for "elsewhere": the ARNs of the roles or users that the edge\'s policy is attached to'
    )
    default_issuer: str = Field(default="", description="the issuer of this edge's PatientIDs, for those that come without one")
    issuers: dict[str, str] = Field(
        default={}, description='a table of issuers by calling AE title, such as {CT_ROOM_1 = "HOSPITAL"}'
    )
    commitment: Literal["s3", "healthimaging"] = Field(
        default="s3",
        description='when storage commitment is given: "s3" (S3 has verified the object) or "healthimaging" (it is imported)',
    )
    image: Annotated[str, matching(rf"|{_ECR_IMAGE}|{_AMI}")] = Field(
        default="",
        description='for "ecs": the receiver\'s container image, "ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:..."; '
        'for "ec2": an Amazon Linux 2023 image, "ami-..."',
    )
    spool_gibibytes: Annotated[WholeNumber, Field(ge=20, le=16384)] = Field(
        default=100, description="the size of the spool's disk, 20 to 16384 GiB: what the line to AWS may fall behind"
    )
    dicom_port: Annotated[WholeNumber, Field(ge=1, le=65535)] = Field(default=11112, description="the port that receives DICOM")
    peers: tuple[Annotated[str, matching(r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}")], ...] = Field(
        default=("10.0.0.0/8",),
        description='the address ranges that may send DICOM to an edge in the VPC, such as ["10.1.0.0/16"]',
    )
    architecture: Literal["arm64", "x86_64"] = Field(
        default="x86_64", description='the processor of the receiver\'s machine: "arm64" or "x86_64"'
    )


class External(Section):
    """Objects that reach the bucket's prefix `external/` without a receiver."""

    default_issuer: str = Field(default="", description="the issuer of their PatientIDs, for those that come without one")


class Quotas(Section):
    """The account's quotas (Service Quotas console), from which concurrency settings follow.

    HealthImaging's own are kept by retries, whatever they are (docs/adr/0009).
    """

    lambda_concurrency: Annotated[WholeNumber, Field(ge=1)] = Field(
        default=1000, description="Lambda's quota of concurrent executions in this account and region"
    )


class Operations(Section):
    """What operators see, and for how long."""

    log_days: LogDays = Field(
        default=90, description="how many days logs are kept: a number that CloudWatch Logs knows, such as 90"
    )
    alarm_email: Annotated[str, matching(r"|[^@\s]+@[^@\s]+")] = Field(
        default="", description="the address that alarms are sent to"
    )
    edge_silent_minutes: Annotated[WholeNumber, Field(ge=5, le=1440)] = Field(
        default=15, description="after how many minutes without a report an edge raises an alarm: 5 to 1440"
    )
    spool_age_minutes: Annotated[WholeNumber, Field(ge=1, le=10080)] = Field(
        default=60, description="how many minutes an object may wait in a spool before an alarm"
    )
    tracing: bool = Field(default=True, description="true or false: whether functions and state machines are traced by X-Ray")
    saved_queries: bool = Field(default=True, description="true or false: whether Logs Insights queries are saved")


def _are_certificates(path: Path) -> bool:
    try:
        ssl.create_default_context(cafile=path)
    except OSError:  # no file, or none with a certificate: ssl.SSLError is one
        return False
    return True
