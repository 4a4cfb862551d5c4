"""The snapshot: everything that polls are decided from, in memory."""
