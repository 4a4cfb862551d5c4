"""Pure decisions: facts and the time go in, a verdict comes out."""
