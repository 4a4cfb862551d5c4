"""The reference device client: what an SDK author reads, and what Linux-class devices run as it is."""

from sdk_contract.client.agent import Agent, Settings
from sdk_contract.client.outcome import Outcome
from sdk_contract.client.runtime import FilesOnly, OneShot, Runtime
from sdk_contract.client.store import Installed

__all__ = ["Agent", "FilesOnly", "Installed", "OneShot", "Outcome", "Runtime", "Settings"]
