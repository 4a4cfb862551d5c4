"""Connections to other systems and keys: PostgreSQL, Celery, blob store, signing keys, tokens, webhooks, logs, clock."""
