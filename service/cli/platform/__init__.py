"""Commands about keys, tokens, webhooks, the audit log and the configuration."""
