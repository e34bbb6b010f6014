"""What is to be done, for each step of the state machines. Raises nothing but IngestError and ContractError."""
