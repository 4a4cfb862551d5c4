"""Celery tasks: they take ids and call `service.operations`."""
