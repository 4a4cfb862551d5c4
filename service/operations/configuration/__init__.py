"""The whole configuration as one document: export and apply."""
