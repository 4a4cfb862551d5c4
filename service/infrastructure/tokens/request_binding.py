"""The parts of a request that a credential for one request must cover."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestBinding:
    """Method, path and body of a request; a credential that covers them is valid for no other request."""

    method: str
    path: str
    body: bytes
