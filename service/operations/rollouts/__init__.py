"""Rollouts: drafts, approvals, starts, transitions, gates and rollbacks."""
