"""Pure decisions: values and the time go in, a decision comes out; no framework, database or setting."""
