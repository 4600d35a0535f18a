"""Curricula under test: scenario files, the pytest plugin, and draws by the thousand."""
