"""The pipeline shown to a newcomer, in a terminal: `./dev demo`, and `./dev demo --faults`."""
