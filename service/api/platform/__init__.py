"""The admin API of the platform: tokens, trust, audit log, jobs, webhooks, configuration."""
