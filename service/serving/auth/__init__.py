"""Device authentication: access tokens, device keys, identity providers and HMAC; and replay protection."""
