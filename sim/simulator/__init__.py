"""Synthetic learners whose losses answer to a curriculum: drawn, fitted to logs, put through it by the thousand."""
