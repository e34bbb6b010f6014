"""The local stack with everything that is asked of AWS recorded: by functions, by state machines, and by the receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.aws import Aws
from local.ministack import MiniStack
from local.stack import Stack
from local.supervisor import Service
from tests.support.recording import RecordingEndpoint, app_id

if TYPE_CHECKING:
    from contextlib import ExitStack

    from local.state import StateFolder


class RecordedStack(Stack):
    """The local stack, with a recording endpoint between whoever calls AWS and AWS."""

    def __init__(self, state: StateFolder, ports: dict[str, int], recorders: ExitStack) -> None:
        super().__init__(state, ports, report=lambda _: None)

        def record(upstream: str, name: str | None = None) -> RecordingEndpoint:
            endpoint = RecordingEndpoint(upstream, app_id if name is None else lambda _: name)
            return recorders.enter_context(endpoint)

        self.of_functions = record(self._aws.endpoint_url), record(self._engine.endpoint_url)
        self.of_receiver = record(self._aws.endpoint_url, "receiver")
        self.of_machines = record(self._aws.endpoint_url, "machines"), record(self._medical_imaging_url, "machines")

    def _ministack(self) -> Service:
        aws, engine = self.of_functions
        environment = {
            "AWS_ENDPOINT_URL": aws.url,  # what Lambdas are told
            "AWS_ENDPOINT_URL_SFN": engine.url,
            "AWS_ENDPOINT_URL_MEDICAL_IMAGING": self._medical_imaging_url,
        }
        return Service(
            name="the AWS emulator",
            start=lambda: MiniStack.start(self._state / "aws", self._ports["aws"], extra_env=environment).process,
            restarts=False,
        )

    def _stepfunctions(self) -> Service:
        aws, imaging = self.of_machines
        return self._seeing(aws, imaging.url, super()._stepfunctions)

    def _receiver(self, outputs: dict[str, str]) -> Service:
        return self._seeing(self.of_receiver, self._medical_imaging_url, lambda: super(RecordedStack, self)._receiver(outputs))

    def _seeing(self, aws: RecordingEndpoint, imaging_url: str, make: Any) -> Service:
        """Make a service whose command is told of other addresses."""
        real = self._aws, self._medical_imaging_url
        self._aws, self._medical_imaging_url = Aws(aws.url), imaging_url
        try:
            service: Service = make()
        finally:
            self._aws, self._medical_imaging_url = real
        return service
