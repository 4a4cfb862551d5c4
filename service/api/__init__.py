"""HTTP and nothing else: parse, call one operation, answer."""
