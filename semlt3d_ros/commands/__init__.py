"""The subcommands of ``semlt3d``: one module each, with ``HELP``, ``EXAMPLE``, ``add_arguments`` and ``run``."""
