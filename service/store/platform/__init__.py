"""Jobs, audit log, idempotency keys, tokens, webhooks and the serving epoch."""
