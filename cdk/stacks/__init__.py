"""Stacks: which components there are, and who may do what to whom."""
