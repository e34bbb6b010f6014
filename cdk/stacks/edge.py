"""The edge stack, one for each edge: its receiver's policy and, unless it runs elsewhere, the receiver."""

from __future__ import annotations

from aws_cdk import ArnFormat, CfnOutput, Environment, Stack
from constructs import Construct

from cdk.bundle import build_receiver
from cdk.components.edge_policy import EdgePolicy
from cdk.components.logs import retention
from cdk.components.queues import Inbound
from cdk.components.receivers import ReceiverProps
from cdk.components.receivers.ec2 import Ec2Receiver
from cdk.components.receivers.ecs import EcsReceiver
from cdk.components.receivers.greengrass import GreengrassReceiver
from cdk.config import Config
from cdk.stacks.network import NetworkStack
from cdk.stacks.storage import StorageStack


class EdgeStack(Stack):
    """One edge of one environment."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        edge: str,
        storage: StorageStack,
        inbound: Inbound,
        network: NetworkStack | None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description=f"ahi-ingest: the receiver of the edge {edge}",
            env=Environment(region=config.region),
        )
        settings = config.edges[edge]
        name = f"{config.prefix}-edge-{edge}"
        answer_arn = ""
        if edge in config.answered_edges:  # by its name: an import of this stack's would keep the function from being removed
            answer_arn = self.format_arn(
                service="lambda",
                resource="function",
                resource_name=config.answer_name(edge),
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            )
        policy = EdgePolicy(
            self,
            "Policy",
            name=name,
            edge=edge,
            objects=storage.objects,
            inbound=inbound.queue,
            answer_arn=answer_arn,
        ).policy
        props = ReceiverProps(
            name=name,
            edge=edge,
            settings=settings,
            policy=policy,
            bucket_name=storage.objects.bucket.bucket_name,
            queue_url=inbound.queue.queue_url,
            region=config.region,
            commitment_function=answer_arn,
        )
        CfnOutput(self, "ReceiverPolicyArn", value=policy.managed_policy_arn)
        if answer_arn:
            CfnOutput(self, "CommitmentFunctionArn", value=answer_arn)
        match settings.receiver:
            case "greengrass":
                GreengrassReceiver(self, "Receiver", props=props, bundle=build_receiver(settings.architecture))
            case "ecs" if network:
                receiver = EcsReceiver(self, "Receiver", props=props, network=network, retention=retention(config))
                CfnOutput(self, "DicomAddress", value=receiver.balancer.load_balancer_dns_name)
            case "ec2" if network:
                instance = Ec2Receiver(
                    self, "Receiver", props=props, network=network, bundle=build_receiver(settings.architecture)
                )
                CfnOutput(self, "DicomAddress", value=instance.address)
