"""Background workers: ingest and sign versions, build patches, evaluate rollouts, deliver webhooks."""
