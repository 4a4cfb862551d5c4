"""Path parameters that the routes of releases share."""

from typing import Annotated

from fastapi import Path

from sdk_contract.documents import Label, Name

ModelName = Annotated[Name, Path(description="Name of the model.")]
VersionLabel = Annotated[Label, Path(description="Label of the version.")]
