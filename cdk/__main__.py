"""`python -m cdk --config FILE --output DIR` synthesizes; the CDK CLI does so by cdk.json, `-c config=FILE`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from cdk.app import make_app
from cdk.bundle import BundleError
from cdk.config import ConfigError, read
from cdk.tools import ToolMissingError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cdk", description="Synthesize the CloudFormation templates.")
    parser.add_argument("--config", type=Path, help="the environment's TOML file (see cdk/example.toml)")
    parser.add_argument("--output", type=Path, help="the folder for templates and assets (default: cdk.out)")
    arguments = parser.parse_args()
    # The CDK CLI hands its `-c name=value` down in this variable, and its output folder in another, which App reads.
    context = json.loads(os.environ.get("CDK_CONTEXT_JSON", "{}"))
    config = arguments.config or context.get("config")
    if config is None:
        parser.error("say which environment: --config FILE, or -c config=FILE with the CDK CLI")
    try:
        make_app(read(Path(config)), output=arguments.output).synth()
    except (BundleError, ConfigError, ToolMissingError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
