"""`python -m plateau_rule`, the same as the command `plateau`."""

import sys

from plateau_rule.commands.app import main

sys.exit(main())
