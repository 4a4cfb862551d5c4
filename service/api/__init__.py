"""The HTTP API: each handler parses its request, calls one operation and returns a view."""
