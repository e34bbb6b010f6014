"""The cloud, one CDK app: stacks compose, components own, and grants stand where both ends are in sight.

`python -m cdk --config FILE --output DIR` synthesizes it: without Docker, AWS credentials or, once set up, a network.
"""

from cdk import tools

tools.use_packaged_node()  # jsii looks for Node.js when aws_cdk is imported, which only modules of this package do
