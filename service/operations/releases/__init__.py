"""Releases: models, versions, uploads and manifests."""
