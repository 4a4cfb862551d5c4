"""The payload of a coded block: its plan, fields, runs and element types."""
