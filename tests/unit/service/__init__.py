"""The service and the transport on it, without a server process."""
