"""The host application's side: device conditions, and activators that load models."""
