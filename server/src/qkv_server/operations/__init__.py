"""How the process runs: settings, health, lifecycle."""
