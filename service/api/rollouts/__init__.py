"""The admin API of rollouts, their gates, previews and templates."""
