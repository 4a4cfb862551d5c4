"""PostgreSQL, Valkey and SeaweedFS from their Python wheels, in one directory, without Docker and without root.

For development, tests and the demo. In production the same settings point at managed services.
"""

from service.infrastructure.embedded.programs import EmbeddedError, free_ports, is_port_in_use
from service.infrastructure.embedded.stack import BUCKET, Endpoints, Stack

__all__ = ["BUCKET", "EmbeddedError", "Endpoints", "Stack", "free_ports", "is_port_in_use"]
