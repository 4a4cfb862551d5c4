"""The life of an update: states, staging, activation, commit and rollback."""
