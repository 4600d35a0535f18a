"""The command `plateau schema`."""

from __future__ import annotations

from plateau_rule.commands.options import Output, write_text


def schema(*, output: Output = None) -> int:
    """Print the JSON Schema of curriculum files, for editors that complete and check TOML.

    Args:
        output: Write to this file instead of the standard output.
    """
    from plateau_rule.controller.language.schema import schema_text

    return write_text(schema_text(), output)
