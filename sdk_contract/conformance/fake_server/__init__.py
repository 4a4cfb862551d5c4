"""The server that a conformance scenario runs against: honest, until the scenario tampers with it."""
