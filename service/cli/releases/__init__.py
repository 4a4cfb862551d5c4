"""Commands that publish, inspect and revoke versions of models."""
