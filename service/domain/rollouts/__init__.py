"""Rollouts: life cycle, stages, policy, windows, pacing, forecasts."""
