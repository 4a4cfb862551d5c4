"""The control plane: stores versions, decides which device runs which one, and watches the outcomes."""
