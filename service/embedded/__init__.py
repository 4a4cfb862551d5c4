"""The real servers, from their wheels, in one directory, with no Docker and no root.

For development, tests and the demo. Production points the same settings at managed services.
"""

from service.embedded.programs import EmbeddedError, free_ports, is_taken
from service.embedded.stack import BUCKET, Endpoints, Stack

__all__ = ["BUCKET", "EmbeddedError", "Endpoints", "Stack", "free_ports", "is_taken"]
