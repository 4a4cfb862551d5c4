"""The fleet in groups: which devices get the same decision, and what a rollout would do to them."""
