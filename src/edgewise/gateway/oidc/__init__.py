"""Login at a provider with OpenID Connect: authorization code flow with PKCE, refresh, logout."""
