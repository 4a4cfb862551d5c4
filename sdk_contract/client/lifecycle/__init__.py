"""The life of an update: transitions, downloads, staging, activation, commit and rollback."""
