"""The receiver in the VPC as an ECS service on Fargate, behind a network load balancer on the DICOM port.

One task on one spool, never two: a deployment ends the old task before it starts the new one. The spool is on EFS, which
outlives tasks and zones. Each object costs EFS's latency, a few milliseconds more than a disk: EC2 is for large volumes.
"""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_efs as efs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk.acknowledged import acknowledge_wildcards
from cdk.components.receivers import ReceiverProps
from cdk.stacks.network import NetworkStack

_SPOOL = "/var/lib/ahi-ingest/spool"  # as the image has it, and its user
_USER = "10001"
_STOP = Duration.seconds(60)  # longer than the receiver's own drain_timeout_seconds; Fargate allows 120


class EcsReceiver(Construct):
    """The service, its spool, and the address that modalities send to."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        props: ReceiverProps,
        network: NetworkStack,
        retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, construct_id)
        self._props, self._network = props, network
        balancer_group = self._group("BalancerGroup", "modalities reach the load balancer")
        receiver_group = self._group("ReceiverGroup", "the load balancer reaches the receiver")
        spool_group = self._group("SpoolGroup", "the receiver reaches its spool")
        port = ec2.Port.tcp(props.settings.dicom_port)
        for peers in props.settings.peers:
            balancer_group.add_ingress_rule(ec2.Peer.ipv4(peers), port, "DICOM")
        balancer_group.connections.allow_to(receiver_group, port, "DICOM")
        receiver_group.connections.allow_to(spool_group, ec2.Port.tcp(2049), "NFS")

        task = self._task(self._spool(spool_group), retention)
        service = ecs.FargateService(
            self,
            "Service",
            service_name=props.name,
            cluster=ecs.Cluster(
                self,
                "Cluster",
                cluster_name=props.name,
                vpc=network.vpc,
                container_insights_v2=ecs.ContainerInsights.ENABLED,
            ),
            task_definition=task,
            desired_count=1,
            min_healthy_percent=0,
            max_healthy_percent=100,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            vpc_subnets=network.subnets,
            security_groups=[receiver_group, network.receivers],
            platform_version=ecs.FargatePlatformVersion.VERSION1_4,
        )
        self.balancer = elb.NetworkLoadBalancer(
            self,
            "Balancer",
            vpc=network.vpc,
            vpc_subnets=network.subnets,
            internet_facing=False,
            cross_zone_enabled=True,
            deletion_protection=True,
            security_groups=[balancer_group],
        )
        self.balancer.add_listener("Dicom", port=props.settings.dicom_port).add_targets(
            "Receiver",
            port=props.settings.dicom_port,
            targets=[service],
            preserve_client_ip=True,  # the receiver records who sent
            deregistration_delay=_STOP,
        )

    def _group(self, construct_id: str, what: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self, construct_id, vpc=self._network.vpc, description=f"{self._props.name}: {what}", allow_all_outbound=False
        )

    def _spool(self, group: ec2.ISecurityGroup) -> efs.AccessPoint:
        files = efs.FileSystem(
            self,
            "Spool",
            file_system_name=self._props.name,
            vpc=self._network.vpc,
            vpc_subnets=self._network.subnets,
            security_group=group,
            encrypted=True,
            enable_automatic_backups=True,
            throughput_mode=efs.ThroughputMode.ELASTIC,
            removal_policy=RemovalPolicy.RETAIN,
        )
        return files.add_access_point(
            "Receiver",
            path="/spool",
            create_acl=efs.Acl(owner_uid=_USER, owner_gid=_USER, permissions="0700"),
            posix_user=efs.PosixUser(uid=_USER, gid=_USER),
        )

    def _task(self, spool: efs.AccessPoint, retention: logs.RetentionDays) -> ecs.FargateTaskDefinition:
        props = self._props
        role = iam.Role(
            self,
            "Role",
            role_name=props.name,
            assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"),
            managed_policies=[props.policy],
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
                resources=[spool.file_system.file_system_arn],
                conditions={"StringEquals": {"elasticfilesystem:AccessPointArn": spool.access_point_arn}},
            )
        )
        arm = props.settings.architecture == "arm64"
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            family=props.name,
            cpu=2048,
            memory_limit_mib=4096,
            task_role=role,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.ARM64 if arm else ecs.CpuArchitecture.X86_64,
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
            volumes=[
                ecs.Volume(
                    name="spool",
                    efs_volume_configuration=ecs.EfsVolumeConfiguration(
                        file_system_id=spool.file_system.file_system_id,
                        transit_encryption="ENABLED",
                        authorization_config=ecs.AuthorizationConfig(access_point_id=spool.access_point_id, iam="ENABLED"),
                    ),
                )
            ],
        )
        acknowledge_wildcards(task, ["*"], "ecr:GetAuthorizationToken is for the whole registry; layers are of one repository.")
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/{props.name}",
            retention=retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        registry, _, digest = props.settings.image.partition("@")
        host, _, repository = registry.partition("/")
        account, region = host.split(".")[0], host.split(".")[3]
        images = ecr.Repository.from_repository_arn(self, "Images", f"arn:aws:ecr:{region}:{account}:repository/{repository}")
        container = task.add_container(
            "Receiver",
            image=ecs.ContainerImage.from_ecr_repository(images, digest),
            user=_USER,
            environment=props.environment(_SPOOL),
            readonly_root_filesystem=True,
            stop_timeout=_STOP,
            logging=ecs.LogDriver.aws_logs(stream_prefix="receiver", log_group=log_group),
            port_mappings=[ecs.PortMapping(container_port=props.settings.dicom_port)],
        )
        container.add_mount_points(ecs.MountPoint(container_path=_SPOOL, source_volume="spool", read_only=False))
        return task
