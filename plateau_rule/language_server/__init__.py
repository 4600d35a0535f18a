"""A language server for curriculum files: findings while one types, hover, completion, quick fixes, entry times.

`cursor` says what stands at a place of a half-written text, `help` what the language has to say there, `document` what
is known of the whole text, `fixes` what mends a fault; `server` alone knows the protocol.
"""
