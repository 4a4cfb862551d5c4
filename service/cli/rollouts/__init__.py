"""Commands that create, watch and control rollouts."""
