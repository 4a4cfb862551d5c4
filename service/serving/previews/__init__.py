"""Previews of rollouts, and forecasts of when running rollouts complete."""
