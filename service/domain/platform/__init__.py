"""Decisions of the platform: audit chain, trust bundle, webhooks, load, differences of configurations."""
