"""Settings: read from `GRAYLAG_*` variables, or from files that such variables name."""

from service.config.definitions import Settings, settings

__all__ = ["Settings", "settings"]
