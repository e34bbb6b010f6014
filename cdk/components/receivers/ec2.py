"""The receiver in the VPC on an EC2 instance with a spool on EBS: the fastest, for a site whose modalities reach the VPC.

The instance starts bare. Systems Manager installs the receiver, and does so again whenever a deployment brings another: the
instance stays, and so do the spool's disk and the address that modalities send to.
"""

from __future__ import annotations

from aws_cdk import RemovalPolicy, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from cdk.acknowledged import acknowledge_wildcards
from cdk.bundle import PYTHON_VERSION, Bundle
from cdk.components.receivers import ReceiverProps
from cdk.stacks.network import NetworkStack
from cdk.tools import ROOT

_DEVICE = "/dev/sdf"
_DISK_WITHIN_SECONDS = 120
_INSTALLED_WITHIN_SECONDS = 2700
_SPOOL = "/var/lib/ahi-ingest/spool"
# What an instance needs to be managed (Systems Manager guide, "ssmmessages, ec2messages API operations"), for no documents
# but those that an association names.
_MANAGED = (
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
    "ssm:GetDocument",
    "ssm:ListAssociations",
    "ssm:ListInstanceAssociations",
    "ssm:PutInventory",
    "ssm:UpdateAssociationStatus",
    "ssm:UpdateInstanceAssociationStatus",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:OpenControlChannel",
)


class Ec2Receiver(Construct):
    """The instance, its spool, and the association that keeps the receiver on it."""

    def __init__(
        self, scope: Construct, construct_id: str, *, props: ReceiverProps, network: NetworkStack, bundle: Bundle
    ) -> None:
        super().__init__(scope, construct_id)
        settings = props.settings
        artifact = assets.Asset(self, "Artifact", path=str(bundle.path), asset_hash=bundle.digest)
        group = ec2.SecurityGroup(self, "Group", vpc=network.vpc, description=f"{props.name}: DICOM", allow_all_outbound=False)
        for peers in settings.peers:
            group.add_ingress_rule(ec2.Peer.ipv4(peers), ec2.Port.tcp(settings.dicom_port), "DICOM")
        instance = ec2.Instance(
            self,
            "Instance",
            instance_name=props.name,
            instance_type=ec2.InstanceType("c7g.large" if settings.architecture == "arm64" else "c7i.large"),
            machine_image=ec2.MachineImage.generic_linux({props.region: settings.image}),
            vpc=network.vpc,
            vpc_subnets=network.subnets,
            security_group=group,
            role=self._role(props, artifact),
            require_imdsv2=True,
            detailed_monitoring=True,
            disable_api_termination=True,
            ebs_optimized=True,
            block_devices=[ec2.BlockDevice(device_name="/dev/xvda", volume=ec2.BlockDeviceVolume.ebs(20, encrypted=True))],
        )
        instance.add_security_group(network.receivers)
        spool = ec2.Volume(
            self,
            "Spool",
            volume_name=props.name,
            availability_zone=instance.instance_availability_zone,
            size=Size.gibibytes(settings.spool_gibibytes),
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            encrypted=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        attachment = ec2.CfnVolumeAttachment(
            self, "SpoolAttachment", device=_DEVICE, instance_id=instance.instance_id, volume_id=spool.volume_id
        )
        installation = ssm.CfnAssociation(
            self,
            "Installation",
            name="AWS-RunShellScript",
            association_name=props.name,
            targets=[ssm.CfnAssociation.TargetProperty(key="InstanceIds", values=[instance.instance_id])],
            parameters={"commands": _installation(props, bundle, artifact.s3_object_url), "executionTimeout": ["1800"]},
            wait_for_success_timeout_seconds=_INSTALLED_WITHIN_SECONDS,
        )
        installation.add_dependency(attachment)  # it runs once, and makes the spool's file system
        self.address = instance.instance_private_ip

    def _role(self, props: ReceiverProps, artifact: assets.Asset) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            role_name=props.name,
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            managed_policies=[props.policy],
        )
        role.add_to_policy(iam.PolicyStatement(actions=list(_MANAGED), resources=["*"]))
        acknowledge_wildcards(
            role, ["*"], "The agent of Systems Manager: what it calls takes no resource but its own instance."
        )
        role.add_to_policy(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[artifact.bucket.arn_for_objects(artifact.s3_object_key)])
        )
        return role


def _installation(props: ReceiverProps, bundle: Bundle, artifact_url: str) -> list[str]:
    """A shell script that may run again and again. A file system is made on the spool's disk only where there is none.

    The unit is the one of packaging/; what this edge has of its own stands in a drop-in file beside it.
    """
    python = f"python{PYTHON_VERSION}"
    home = f"/opt/ahi-ingest/{bundle.digest}"
    unit = (ROOT / "packaging" / "ahi-ingest.service").read_text(encoding="utf-8").splitlines()
    of_this_edge = [
        "[Unit]",
        f"RequiresMountsFor={_SPOOL}",
        "[Service]",
        "ExecStart=",  # what the unit has of these is replaced
        f"ExecStart=/usr/bin/{python} -m receiver",
        "UnsetEnvironment=AHI_INGEST_CONFIG",
        f"Environment=PYTHONPATH={home}",
        *(f"Environment={name}={value}" for name, value in props.environment(_SPOOL).items()),
        f"ReadWritePaths={_SPOOL}",
    ]
    mount = f"UUID=$(blkid -s UUID -o value $disk) {_SPOOL} xfs defaults,nofail 0 2"
    download = f"aws s3 cp --only-show-errors {artifact_url} /tmp/receiver.zip"
    unpack = f"{python} -m zipfile -e /tmp/receiver.zip {home}.part && mv {home}.part {home} && rm /tmp/receiver.zip"
    return [
        "set -eu",
        f"rpm -q {python} >/dev/null || dnf install -y -q {python}",
        "id ahi-ingest >/dev/null 2>&1 || useradd --system --shell /sbin/nologin ahi-ingest",
        f"for second in $(seq {_DISK_WITHIN_SECONDS}); do test -b {_DEVICE} && break; sleep 1; done",
        f"disk=$(readlink -f {_DEVICE})",
        "blkid $disk >/dev/null || mkfs.xfs $disk",
        f"mkdir -p {_SPOOL}",
        f'grep -q " {_SPOOL} " /etc/fstab || echo "{mount}" >> /etc/fstab',
        f"mountpoint -q {_SPOOL} || mount {_SPOOL}",
        f"chown ahi-ingest: {_SPOOL}",
        f"chmod 0700 {_SPOOL}",
        f"test -d {home} || ({download} && {unpack})",
        *_file("/etc/systemd/system/ahi-ingest.service", unit),
        "mkdir -p /etc/systemd/system/ahi-ingest.service.d",
        *_file("/etc/systemd/system/ahi-ingest.service.d/edge.conf", of_this_edge),
        "systemctl daemon-reload",
        "systemctl enable ahi-ingest",
        "systemctl restart ahi-ingest",
    ]


def _file(path: str, lines: list[str]) -> list[str]:
    return [f"cat > {path} <<'END'", *lines, "END"]
