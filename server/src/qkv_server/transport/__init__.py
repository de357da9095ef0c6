"""Thin adapters over the service, one for each transport. Nothing imports them but what starts the server."""
