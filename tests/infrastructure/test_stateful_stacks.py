"""Network, catalog and imaging: nothing leads out, data outlives its stack, and what is given is not made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdk.bundle import CA_FILE
from tests.infrastructure.conftest import BROUGHT, synthesize
from tests.support.templates import text

if TYPE_CHECKING:
    from pathlib import Path

    from cdk.bundle import Bundle
    from tests.infrastructure.conftest import Environment
    from tests.support.templates import Template


def test_the_stacks_of_an_environment_are_what_is_not_given(
    smallest: Environment, production: Environment, brought: Environment
) -> None:
    everything = {"network", "storage", "catalog", "imaging", "ingest"}
    assert everything <= smallest.stacks.keys()
    assert everything <= production.stacks.keys()
    assert brought.stacks.keys() & everything == everything - {"imaging"}


def test_the_new_vpc_has_no_way_out_but_to_the_endpoints_that_are_called(
    smallest: Environment, production: Environment
) -> None:
    def services(template: Template) -> set[str]:
        endpoints = template.of("AWS::EC2::VPCEndpoint").values()
        return {text(one["Properties"]["ServiceName"]).split(".", 3)[3] for one in endpoints}

    called_by_functions = {"s3", "secretsmanager", "sns", "states"}
    assert services(smallest.stacks["network"]) == called_by_functions
    assert services(production.stacks["network"]) == called_by_functions | {
        *("ecr.api", "ecr.dkr", "logs", "sqs"),
        *("ec2messages", "ssm", "ssmmessages"),
        "lambda",  # which the receiver in clinic-3 asks what was imported
    }
    template = production.stacks["network"]
    for kind in ("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway"):
        assert not template.of(kind)
    assert len(template.of("AWS::EC2::FlowLog")) == 1


def test_an_existing_vpc_gets_its_endpoints_and_the_gateway_in_its_own_route_tables(
    bundle: Bundle, certificate_authority: Path, tmp_path: Path
) -> None:
    tables = ["rtb-0123456789abcdef0", "rtb-1123456789abcdef0"]
    network = {name: value for name, value in BROUGHT["network"].items() if name != "endpoints"} | {"route_table_ids": tables}
    table = BROUGHT | {"network": network}
    template = synthesize(table, bundle=bundle, certificate_authority=certificate_authority, output=tmp_path).stacks["network"]
    endpoints = [one["Properties"] for one in template.of("AWS::EC2::VPCEndpoint").values()]
    (gateway,) = [one for one in endpoints if one["VpcEndpointType"] == "Gateway"]
    assert gateway["RouteTableIds"] == tables
    services = {text(one["ServiceName"]).split(".", 3)[3] for one in endpoints if one is not gateway}
    assert services == {"secretsmanager", "sns", "states"}


def test_an_existing_vpc_gets_security_groups_and_no_more(brought: Environment) -> None:
    kinds = {one["Type"] for one in brought.stacks["network"].body["Resources"].values()}
    assert kinds == {"AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress"}


def test_the_cluster_is_encrypted_backed_up_and_cannot_be_deleted(production: Environment, smallest: Environment) -> None:
    for environment in (production, smallest):
        ((_, cluster),) = environment.stacks["catalog"].of("AWS::RDS::DBCluster").items()
        properties = cluster["Properties"]
        assert properties["StorageEncrypted"] is True
        assert properties["DeletionProtection"] is True
        assert properties["EnableIAMDatabaseAuthentication"] is True
        assert properties["BackupRetentionPeriod"] == 14
        assert (cluster["DeletionPolicy"], cluster["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_the_cluster_stays_with_all_that_it_needs_and_the_rest_of_its_stack_goes(
    production: Environment, smallest: Environment
) -> None:
    for environment in (production, smallest):
        resources = environment.stacks["catalog"].body["Resources"].values()
        stays = {one["Type"] for one in resources if one.get("DeletionPolicy") == "Retain"}
        assert stays == {
            "AWS::RDS::DBCluster",
            "AWS::RDS::DBClusterParameterGroup",
            "AWS::RDS::DBInstance",
            "AWS::RDS::DBSubnetGroup",
            "AWS::SecretsManager::Secret",
            "AWS::SecretsManager::SecretTargetAttachment",  # whose removal takes host and port out of the secret
        }
        of_these = [one for one in resources if one["Type"] in stays]
        assert {(one.get("DeletionPolicy"), one.get("UpdateReplacePolicy")) for one in of_these} == {("Retain", "Retain")}


def test_the_catalog_speaks_tls_only_and_logs_no_statement(production: Environment) -> None:
    template = production.stacks["catalog"]
    ((_, group),) = template.of("AWS::RDS::DBClusterParameterGroup").items()
    assert group["Properties"]["Parameters"]["require_secure_transport"] == "ON"
    ((_, cluster),) = template.of("AWS::RDS::DBCluster").items()
    assert cluster["Properties"]["EnableCloudwatchLogsExports"] == ["error"]  # statements hold patients' data


def test_a_cluster_from_zero_pauses_and_a_standby_scales_with_its_writer(
    production: Environment, smallest: Environment
) -> None:
    ((_, cluster),) = smallest.stacks["catalog"].of("AWS::RDS::DBCluster").items()
    assert cluster["Properties"]["ServerlessV2ScalingConfiguration"] == {
        "MinCapacity": 0,
        "MaxCapacity": 1,
        "SecondsUntilAutoPause": 1800,
    }
    ((_, group),) = smallest.stacks["catalog"].of("AWS::RDS::DBClusterParameterGroup").items()
    assert group["Properties"]["Parameters"]["wait_timeout"] == "120"  # functions that wait hold no connection for long
    instances = production.stacks["catalog"].of("AWS::RDS::DBInstance").values()
    assert max(one["Properties"].get("PromotionTier", 0) for one in instances) <= 1
    assert len(instances) == 2


def test_nothing_but_functions_reaches_the_database(production: Environment) -> None:
    assert not production.stacks["catalog"].of("AWS::EC2::SecurityGroupIngress")
    template = production.stacks["network"]
    (database,) = [name for name in template.of("AWS::EC2::SecurityGroup") if name.startswith("Database")]
    rules = template.of("AWS::EC2::SecurityGroupIngress").values()
    (ingress,) = [rule for rule in rules if text(rule["Properties"]["GroupId"]) == f"{{{database}.GroupId}}"]
    assert text(ingress["Properties"]["SourceSecurityGroupId"]).startswith("{Functions")
    assert (ingress["Properties"]["FromPort"], ingress["Properties"]["ToPort"]) == (3306, 3306)


def test_the_database_password_is_changed_by_itself(production: Environment) -> None:
    ((_, schedule),) = production.stacks["catalog"].of("AWS::SecretsManager::RotationSchedule").items()
    assert schedule["Properties"]["RotationRules"]["ScheduleExpression"] == "rate(30 days)"


def test_a_deployment_migrates_the_catalog_before_other_functions_change(production: Environment) -> None:
    assert len(production.stacks["catalog"].of("Custom::Trigger")) == 1
    names = list(production.stacks)
    assert names.index("catalog") < names.index("ingest")


def test_functions_log_in_by_their_roles_as_a_user_of_their_own_when_the_configuration_says_so(
    production: Environment, smallest: Environment
) -> None:
    def catalog_of(environment: Environment, stack: str, function: str) -> tuple[dict[str, Any], dict[str, set[str]]]:
        template = environment.stacks[stack]
        _, one = template.one("AWS::Lambda::Function", FunctionName=f"{environment.config.prefix}-{function}")
        return one["Properties"]["Environment"]["Variables"], template.allowed(one["Properties"]["Role"]["Fn::GetAtt"][0])

    variables, allowed = catalog_of(production, "ingest", "IndexObjects")
    assert (variables["CATALOG_AUTH"], variables["CATALOG_USER"]) == ("iam", "ahi_ingest_functions")
    assert variables.keys() >= {"CATALOG_HOST", "CATALOG_PORT", "CATALOG_DATABASE"}
    assert "CATALOG_SECRET_ARN" not in variables
    (user,) = allowed["rds-db:connect"]
    assert user.endswith("/ahi_ingest_functions")
    assert ":dbuser:" in user
    variables, allowed = catalog_of(production, "catalog", "MigrateCatalog")
    assert (variables["CATALOG_FUNCTIONS_USER"], "CATALOG_AUTH" in variables) == ("ahi_ingest_functions", False)
    assert "secretsmanager:GetSecretValue" in allowed
    variables, allowed = catalog_of(smallest, "ingest", "IndexObjects")
    assert ("CATALOG_SECRET_ARN" in variables, "rds-db:connect" in allowed) == (True, False)
    variables, _ = catalog_of(smallest, "catalog", "MigrateCatalog")
    assert "CATALOG_FUNCTIONS_USER" not in variables


def test_functions_trust_the_certificate_authorities_that_the_configuration_names(
    production: Environment, brought: Environment
) -> None:
    def trusted(environment: Environment) -> set[str | None]:
        functions = [
            *environment.stacks["ingest"].of("AWS::Lambda::Function").values(),
            environment.stacks["catalog"].one(
                "AWS::Lambda::Function", FunctionName=f"{environment.config.prefix}-MigrateCatalog"
            )[1],
        ]
        return {one["Properties"]["Environment"]["Variables"].get("CATALOG_CA_FILE") for one in functions}

    assert trusted(production) == {f"/var/task/{CA_FILE}"}
    assert trusted(brought) == {None}


def test_the_import_role_is_assumed_by_healthimaging_for_one_data_store_and_reads_and_writes_what_it_must(
    production: Environment,
) -> None:
    template = production.stacks["imaging"]
    name, role = template.one("AWS::IAM::Role", RoleName="ahi-ingest-prod-healthimaging")
    (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "medical-imaging.amazonaws.com"}
    assert text(trust["Condition"]["StringEquals"]["aws:SourceAccount"]) == "{AWS::AccountId}"
    assert "datastore/" in text(trust["Condition"]["ArnEquals"]["aws:SourceArn"])
    allowed = template.allowed(name)
    assert {one.partition("eu-west-1/")[2] for one in allowed["s3:GetObject"]} == {"instances/*", "retries/*"}
    assert {one.partition("eu-west-1/")[2] for one in allowed["s3:PutObject"]} == {"imports/*"}
    assert allowed.keys() - {"s3:GetObject", "s3:PutObject"} == {
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:AbortMultipartUpload",
        "s3:ListBucket",
    }


def test_the_data_store_outlives_its_stack(production: Environment) -> None:
    ((_, store),) = production.stacks["imaging"].of("AWS::HealthImaging::Datastore").items()
    assert (store["DeletionPolicy"], store["UpdateReplacePolicy"]) == ("Retain", "Retain")
