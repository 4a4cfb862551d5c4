"""The reference device client: Linux-class devices run it as it is, and SDK authors port it."""

from sdk_contract.client.agent import Agent, AgentSettings
from sdk_contract.client.host.activator import FilesOnlyActivator, OneShotActivator, Runtime
from sdk_contract.client.lifecycle.result import UpdateResult
from sdk_contract.client.storage.store import InstalledVersion

__all__ = [
    "Agent",
    "AgentSettings",
    "FilesOnlyActivator",
    "InstalledVersion",
    "OneShotActivator",
    "Runtime",
    "UpdateResult",
]
