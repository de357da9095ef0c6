"""How the server runs: starting, health, reflection, TLS, limits, overload, drain."""
