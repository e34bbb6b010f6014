"""The same cloud on one machine: AWS emulator, Step Functions engine, HealthImaging emulator, MariaDB, receiver."""
