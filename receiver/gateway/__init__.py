"""What an operator does on the gateway, AWS or no AWS: look at the spool, the quarantine and commitments, ping, drain."""
