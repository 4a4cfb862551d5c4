"""Settings from files: `GRAYLAG_NAME_FILE` names a file that contains the setting `NAME`."""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource, SettingsError

PREFIX = "GRAYLAG_"


MAX_FILE_BYTES = 64 * 1024
"""Largest file that contains a setting, in bytes, so that a device or a log file named by mistake is not read."""


class FileSettingsSource(PydanticBaseSettingsSource):
    """Reads settings from the files that `*_FILE` variables name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content of the file without trailing newlines; None if the variable is not set.

        Raises:
            SettingsError: the file cannot be read, or the setting is set twice.
        """
        name = PREFIX + field_name.upper()
        path = os.environ.get(f"{name}_FILE")
        if not path:
            return None, field_name, False
        if os.environ.get(name):
            raise SettingsError(f"{name} and {name}_FILE are both set; set only one of them")
        return _read_file(Path(path), f"{name}_FILE"), field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        """All settings that are read from files."""
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, is_complex = self.get_field_value(field, name)
            if value:
                found[name] = self.prepare_field_value(name, field, value, is_complex)
        return found


def _read_file(path: Path, variable: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}: {path} cannot be read: {type(error).__name__}") from error
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{variable}: {path} is longer than {MAX_FILE_BYTES} bytes")
    return text.rstrip("\r\n")
