"""What the other operations need: jobs, audit log, webhooks, API tokens, trust bundles and idempotency keys."""
