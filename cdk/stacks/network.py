"""The network stack: a VPC without a way out, and endpoints for what is called from inside it. Or a VPC that exists.

Who may speak to whom is said by its security groups: functions reach the catalog and the endpoints, receivers reach the
endpoints, and nothing else reaches anything. All of their rules stand here.
"""

from __future__ import annotations

from aws_cdk import Environment, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk.components.function import Placement
from cdk.components.logs import retention
from cdk.config import Config

_HTTPS_PORT = 443
_FUNCTIONS_CALL = ("secretsmanager", "sns", "states")
_RECEIVERS_CALL = {
    "ecs": ("ecr.api", "ecr.dkr", "logs", "sqs"),
    "ec2": ("ec2messages", "sqs", "ssm", "ssmmessages"),
}


class NetworkStack(Stack):
    """One environment's network."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config) -> None:
        super().__init__(
            scope,
            construct_id,
            description="ahi-ingest: where functions and receivers reach the catalog and AWS",
            env=Environment(region=config.region),
        )
        self._config = config
        self.vpc = self._new_vpc() if config.network.vpc == "new" else self._existing_vpc()
        self.subnets = ec2.SubnetSelection(subnets=self._private_subnets())
        self._endpoints = self._group("Endpoints", "the interface endpoints of AWS services")
        self.functions = self._group("Functions", "functions that reach the catalog")
        self.receivers = self._group("Receivers", "receivers in this VPC")
        self.database = self._database()
        self._reach_endpoints()
        mysql = ec2.Port.tcp(config.catalog.port)
        self.database.add_ingress_rule(self.functions, mysql, "functions reach the catalog")
        self.functions.add_egress_rule(self.database, mysql, "functions reach the catalog")
        if config.network.vpc == "new" or config.network.endpoints:
            self._make_endpoints()

    @property
    def placement(self) -> Placement:
        """Where functions stand that reach the catalog."""
        return Placement(vpc=self.vpc, subnets=self.subnets, security_group=self.functions)

    def _new_vpc(self) -> ec2.IVpc:
        config = self._config
        private = ec2.SubnetType.PRIVATE_WITH_EGRESS if config.network.nat else ec2.SubnetType.PRIVATE_ISOLATED
        subnets = [ec2.SubnetConfiguration(name="Private", subnet_type=private)]
        if config.network.nat:
            subnets.append(ec2.SubnetConfiguration(name="Public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28))
        vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name=config.prefix,
            ip_addresses=ec2.IpAddresses.cidr(config.network.cidr),
            max_azs=2,
            nat_gateways=1 if config.network.nat else 0,
            subnet_configuration=subnets,
            restrict_default_security_group=False,  # nothing uses that group; closing it takes a Lambda of CDK's
        )
        log_group = logs.LogGroup(
            self,
            "FlowLogs",
            log_group_name=f"/aws/vpc/{config.prefix}",
            retention=retention(config),
            removal_policy=RemovalPolicy.DESTROY,
        )
        vpc.add_flow_log("Flows", destination=ec2.FlowLogDestination.to_cloud_watch_logs(log_group))
        return vpc

    def _existing_vpc(self) -> ec2.IVpc:
        network = self._config.network
        return ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=network.vpc_id,
            availability_zones=list(network.availability_zones),
            isolated_subnet_ids=list(network.subnet_ids),
            isolated_subnet_route_table_ids=list(network.route_table_ids) or None,
        )

    def _private_subnets(self) -> list[ec2.ISubnet]:
        return [*self.vpc.isolated_subnets, *self.vpc.private_subnets]

    def _group(self, construct_id: str, what: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self, construct_id, vpc=self.vpc, description=f"{self._config.prefix}: {what}", allow_all_outbound=False
        )

    def _database(self) -> ec2.ISecurityGroup:
        if given := self._config.catalog.security_group_id:
            return ec2.SecurityGroup.from_security_group_id(self, "Database", given)
        return self._group("Database", "the catalog")

    def _reach_endpoints(self) -> None:
        https = ec2.Port.tcp(_HTTPS_PORT)
        for group in (self.functions, self.receivers):
            # S3 is behind a gateway, whose addresses are public ones; routes lead nowhere else (see the VPC).
            group.add_egress_rule(ec2.Peer.any_ipv4(), https, "endpoints of AWS, and S3 through its gateway")
            self._endpoints.add_ingress_rule(group, https, "from this environment")

    def _make_endpoints(self) -> None:
        self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3, subnets=[self.subnets])
        services = set(_FUNCTIONS_CALL)
        for edge in self._config.edges.values():
            services |= set(_RECEIVERS_CALL.get(edge.receiver, ()))
            if edge.receiver in _RECEIVERS_CALL and edge.commitment == "healthimaging":
                services.add("lambda")
        for service in sorted(services):
            self.vpc.add_interface_endpoint(
                service.replace(".", "-"),
                service=ec2.InterfaceVpcEndpointAwsService(service),
                subnets=self.subnets,
                security_groups=[self._endpoints],
                open=False,
            )
