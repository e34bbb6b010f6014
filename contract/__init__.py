"""The words that edge and cloud share: UIDs, S3 keys, association ids, manifests, the SQS message. Standard library only."""

from contract.association import Ending, new_association_id
from contract.strict import ContractError

__all__ = ["ContractError", "Ending", "new_association_id"]
