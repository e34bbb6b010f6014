"""The catalog stack: an Aurora MySQL cluster, unless one exists, and the function that keeps its tables up to date.

A deployment migrates before it changes any other function, and every migration leaves what the older functions need.
"""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, Environment, RemovalPolicy, Stack, Token, triggers
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from cdk.bundle import CA_FILE, Bundle
from cdk.components.function import BundleFunction, Placement
from cdk.config import Config
from cdk.stacks.network import NetworkStack

_VERSION = rds.AuroraMysqlEngineVersion.of("8.0.mysql_aurora.3.10.1", "8.0")
_DATABASE = "ahi_ingest"
_FUNCTIONS_USER = "ahi_ingest_functions"
_MIGRATION = Duration.minutes(14)  # Lambda's limit is 15, and CloudFormation's provider has to hear the end
_PASSWORD_DAYS = 30
_IDLE_SECONDS = 120
_STAY_WITH_THE_CLUSTER = (
    rds.CfnDBClusterParameterGroup,
    secretsmanager.CfnSecret,
    secretsmanager.CfnSecretTargetAttachment,
)
"""What CDK deletes with the stack though the cluster is retained. A parameter group in use cannot be deleted, so that the stack
could not be either. Nobody logs in without the secret, and the removal of its attachment takes host and port out of it
(CloudFormation's reference, "AWS::SecretsManager::SecretTargetAttachment")."""


class CatalogStack(Stack):
    """One environment's catalog. `network` is None for a database that functions reach outside of any VPC."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Config, bundle: Bundle, network: NetworkStack | None
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="ahi-ingest: the catalog of what was received and imported",
            env=Environment(region=config.region),
        )
        self._config = config
        self.placement: Placement | None = network.placement if network else None
        self.cluster: rds.DatabaseCluster | None = None
        if config.catalog.new:
            assert network is not None  # noqa: S101 - the configuration was checked
            self.cluster = self._new_cluster(network)
        self.migrate = BundleFunction(
            self,
            "MigrateCatalog",
            config=config,
            bundle=bundle,
            environment=self._environment_of_owner,
            timeout=_MIGRATION,
            memory_mebibytes=512,
            placement=self.placement,
        ).function
        self._grant_secret(self.migrate)
        if config.catalog.migrate_on_deploy:
            triggers.Trigger(
                self,
                "Migration",
                handler=self.migrate,
                timeout=_MIGRATION,
                execute_after=[self.cluster] if self.cluster else [],
            )
        CfnOutput(self, "MigrateCatalogFunctionName", value=self.migrate.function_name)
        CfnOutput(self, "CatalogSecretArn", value=self._secret_arn)

    @property
    def environment_of_functions(self) -> dict[str, str]:
        """What a function's environment says about the catalog (lambdas/handlers/environment.py)."""
        if not self._by_iam:
            return self._tls | {"CATALOG_SECRET_ARN": self._secret_arn}
        endpoint = self._new.cluster_endpoint
        return self._tls | {
            "CATALOG_AUTH": "iam",
            "CATALOG_HOST": endpoint.hostname,
            "CATALOG_PORT": Token.as_string(endpoint.port),
            "CATALOG_USER": _FUNCTIONS_USER,
            "CATALOG_DATABASE": _DATABASE,
        }

    def grant_connect(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` log in to the catalog as functions do."""
        if self._by_iam:
            self._new.grant_connect(grantee, _FUNCTIONS_USER)
        else:
            self._grant_secret(grantee)

    @property
    def _by_iam(self) -> bool:
        return self._config.catalog.login == "iam"

    @property
    def _new(self) -> rds.DatabaseCluster:
        assert self.cluster is not None  # noqa: S101 - the configuration was checked
        return self.cluster

    @property
    def _tls(self) -> dict[str, str]:
        ca_file = {"CATALOG_CA_FILE": f"/var/task/{CA_FILE}"} if self._config.catalog.ca_file else {}
        return {"CATALOG_TLS": self._config.catalog.tls} | ca_file

    @property
    def _environment_of_owner(self) -> dict[str, str]:
        """For the function that migrates: it owns the tables, and makes the user that the others log in as."""
        user = {"CATALOG_FUNCTIONS_USER": _FUNCTIONS_USER} if self._by_iam else {}
        return self._tls | {"CATALOG_SECRET_ARN": self._secret_arn} | user

    def _grant_secret(self, grantee: iam.IGrantable) -> None:
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[self._secret_resource])
        )

    @property
    def _secret_arn(self) -> str:
        return self.cluster.secret.secret_arn if self.cluster and self.cluster.secret else self._config.catalog.secret_arn

    @property
    def _secret_resource(self) -> str:
        return self._secret_arn if self.cluster else self._config.catalog.secret_resource

    def _new_cluster(self, network: NetworkStack) -> rds.DatabaseCluster:
        settings = self._config.catalog
        cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            cluster_identifier=self._config.prefix,
            engine=rds.DatabaseClusterEngine.aurora_mysql(version=_VERSION),
            parameters={
                "require_secure_transport": "ON",
                "character_set_server": "utf8mb4",
                "collation_server": "utf8mb4_0900_ai_ci",
                # Functions that are not running keep their connections, and each of these keeps the cluster awake.
                **({"wait_timeout": str(_IDLE_SECONDS)} if settings.min_capacity == 0 else {}),
            },
            writer=rds.ClusterInstance.serverless_v2("Writer", enable_performance_insights=False),
            readers=(
                [rds.ClusterInstance.serverless_v2("Standby", scale_with_writer=True, enable_performance_insights=False)]
                if settings.standby
                else []
            ),
            serverless_v2_min_capacity=settings.min_capacity,
            serverless_v2_max_capacity=settings.max_capacity,
            serverless_v2_auto_pause_duration=(
                Duration.minutes(settings.pause_after_minutes) if settings.min_capacity == 0 else None
            ),
            vpc=network.vpc,
            vpc_subnets=network.subnets,
            security_groups=[self._closed("Database", network.database)],
            credentials=rds.Credentials.from_generated_secret("ahi_ingest_admin", secret_name=f"{self._config.prefix}-catalog"),
            default_database_name=_DATABASE,
            iam_authentication=True,
            storage_encrypted=True,
            backup=rds.BackupProps(retention=Duration.days(settings.backup_days)),
            copy_tags_to_snapshot=True,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
            # Not `general` and not `slowquery`: statements hold patients' data, and logs must not.
            cloudwatch_logs_exports=["error"],
        )
        cluster.add_rotation_single_user(
            automatically_after=Duration.days(_PASSWORD_DAYS),
            rotate_immediately_on_update=False,  # which would be while the first migration logs in
            vpc_subnets=network.subnets,
            security_group=self._closed("Functions", network.functions),
        )
        for one in cluster.node.find_all():
            if isinstance(one, _STAY_WITH_THE_CLUSTER):
                one.apply_removal_policy(RemovalPolicy.RETAIN)
        return cluster

    def _closed(self, construct_id: str, group: ec2.ISecurityGroup) -> ec2.ISecurityGroup:
        """A group of the network stack, to which nothing here adds a rule: it has those already."""
        return ec2.SecurityGroup.from_security_group_id(self, construct_id, group.security_group_id, mutable=False)
