"""Commands that start processes of the service."""
