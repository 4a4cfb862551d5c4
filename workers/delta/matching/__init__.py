"""Match the new file to the old one: tensors, rows, byte ranges, and the blocks of the patch."""
