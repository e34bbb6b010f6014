"""The operators' console: send, look, wait, replay."""
