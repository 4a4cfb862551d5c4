"""The hot path: polls answered from memory, what must last written in group commits."""
