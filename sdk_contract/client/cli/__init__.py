"""The `graylag-agent` command."""
