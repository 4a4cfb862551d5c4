"""Adapters from Celery to operations, as thin as handlers; arguments are ids."""
