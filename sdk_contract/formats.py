"""Names of the download formats, as `accepts` and `downloads[].options[].format` carry them.

`glp1` and `bsdiff40` are patches, each with a signed patch descriptor; `full` is the whole file.
"""

from typing import Final, Literal

PatchFormat = Literal["glp1", "bsdiff40"]

GLP1: Final = "glp1"
BSDIFF40: Final = "bsdiff40"
FULL: Final = "full"
