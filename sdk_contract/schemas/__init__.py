"""JSON Schemas of everything that a device sends or sees, made from `wire.py` and `documents.py`."""
