"""AWS HealthImaging on one machine: the import side, image sets and their metadata, over HTTP. See README.md here."""
