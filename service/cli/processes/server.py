"""The HTTP server of `graylag api`: uvicorn that drains before it stops."""

import asyncio
from types import FrameType

import uvicorn


class DrainingServer(uvicorn.Server):
    """A server that reports itself not ready for a while before it stops accepting requests.

    In that time a load balancer notices and stops sending requests, so none is lost in a rolling restart.
    """

    def __init__(self, config: uvicorn.Config, drain_s: float) -> None:
        """Drain for `drain_s` seconds after the first signal; 0 stops at once."""
        super().__init__(config)
        self._drain_s = drain_s
        self._draining = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start draining at the first signal; stop when the drain is over, or at a second signal."""
        if self._draining or not self._drain_s:
            super().handle_exit(sig, frame)
            return
        self._draining = True
        self.config.app.state.draining = True  # type: ignore[union-attr]  # the config holds an application object
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self._drain_s, super().handle_exit, sig, frame)
