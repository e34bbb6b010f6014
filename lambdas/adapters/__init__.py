"""What talks to AWS."""
