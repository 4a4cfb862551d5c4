"""ASGI middleware and route classes: body limit, fast path of the device API, idempotency keys."""
