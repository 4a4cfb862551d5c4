"""Compute: ingest, sign, build patches, watch rollouts."""
