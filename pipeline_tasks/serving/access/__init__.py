"""What a request passes before it is answered: connections, limits, tokens and roles."""
