"""The HTTP surface: tools, health, configuration and metrics over one runtime."""
