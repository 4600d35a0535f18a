"""What-if questions to a curriculum over a loss log: what it decides, why, and what another number would have decided.

`session.Session` holds one run and answers; no server, no clock, nothing that waits.
"""
