"""Small hosts that show how a server follows a rollout without a restart."""
